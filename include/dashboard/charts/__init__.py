"""One builder a chart: data in, plotly figure (a plain dict) out."""
