"""How operators of our graphs are written as MXNet nodes."""
