"""OpenAI's API over what is served: text from models that generate, vectors from others."""
