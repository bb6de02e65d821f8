"""The web page of `translate app`. What is drawn with Gradio is in the modules *_panel, page, looks and server."""
