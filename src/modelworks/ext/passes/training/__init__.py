"""What passes that train share: graphs as files and as torch modules, rows, teachers, lessons."""
