"""The web server put together: the pages and the API, and what they are lent by rooms that they do not know."""
