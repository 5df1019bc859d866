"""How MXNet nodes of an exported integer symbol are read back as CVM operators."""
