"""The learning core: data, network, training module, evaluation, explanation, model folders.

It imports no Ray, no Gradio and no HTTP library; `jobs` and `serve_app` stand on it.
Import what you need from its modules: this file stays empty so that importing is quick.
"""
