"""What ``langgraph dev`` and LangGraph Platform serve; langgraph.json names each graph."""
