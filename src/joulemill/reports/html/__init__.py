"""Views as one offline HTML file."""
