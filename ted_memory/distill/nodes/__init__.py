"""The nodes of the distillation graph, a file a node, named as in the picture."""
