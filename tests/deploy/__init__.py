"""Image, compose file, chart and manifests: what can be known of a deployment without a cluster."""
