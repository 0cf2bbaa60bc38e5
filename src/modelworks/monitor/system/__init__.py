"""The machine and its processes, looked at: CPU, memory, disk, network, files, accelerators."""
