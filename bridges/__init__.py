"""Importers and exporters: everything that knows the file format of another framework."""
