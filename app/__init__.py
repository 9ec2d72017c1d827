"""Load balancer for WebRTC media servers: one replica of the gateway."""

__version__ = "0.1.0"
