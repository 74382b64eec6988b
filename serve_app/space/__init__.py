"""A mirror of the page as a Hugging Face Space: the model in the process, no Ray."""
