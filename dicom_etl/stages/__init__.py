"""The five stages, one module each; read in alphabetical order they are the pipeline."""
