"""What every test may use: real processes, Redis engines, free ports, a proxy that misbehaves on demand."""
