"""Language models, each in a process of its own: `genai`, `llamacpp`, `vllm`.

Their libraries keep Python's lock, or a core, while they compute, and the server's loop may not
wait for them. `engine` starts the process, `session` speaks with it, `child` is it; what computes
lies in a folder for each library.
"""
