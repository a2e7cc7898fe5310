"""One run in forms that others read: model cards, bills of materials, SCI, llm-d, Croissant, Prometheus."""
