"""OpenAI's API: chat, completions, embeddings and models, as its own client writes and reads them.

Every field of a request is honoured, or refused by its name; none is passed over. A field that is
null counts as left out, as OpenAI has it.
"""
