"""Evaluations as a page that needs nothing from elsewhere: tables, plots, pictures. The standard library suffices."""
