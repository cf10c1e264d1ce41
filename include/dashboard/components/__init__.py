"""One builder a part of the page: data in, Dash components out."""
