"""The Ray Serve application: HTTP endpoints and the Gradio page over a model folder."""
