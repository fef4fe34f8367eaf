"""Settings, the concrete parts they choose, and what is opened for a command or a worker."""
