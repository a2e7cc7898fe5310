"""Reports: the versioned document, and its views as JSON, one offline HTML file, terminal, Markdown and LaTeX."""
