"""Reading and writing files and text: one-line errors in, whole files out."""
