"""Sources of text: files, folders, packed files, standard input, and texts inside every Python."""
