"""The page in a real headless Chromium, against real processes."""
