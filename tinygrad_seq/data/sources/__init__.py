"""Where text comes from: files, folders, packed files, standard input, what Python brings along."""
