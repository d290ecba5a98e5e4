"""The house's one chart drawer: figures -> Vega-Lite specifications -> SVG, without a network or a browser."""
