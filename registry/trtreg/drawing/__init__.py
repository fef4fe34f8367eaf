"""Pictures of graphs, as SVG and as a page that needs nothing from elsewhere. The standard library suffices."""
