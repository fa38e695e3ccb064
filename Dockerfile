# One image for all services of docker-compose.yml: learner, desk and example agent.
FROM python:3.13-slim

WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY ted_memory ted_memory
RUN pip install --no-cache-dir '.[langchain,web,otel]' 'langgraph-cli[inmem]>=0.4'

COPY langgraph.json ./
COPY graphs graphs
# `langgraph dev` writes its threads beside langgraph.json
RUN useradd --create-home ted && mkdir .langgraph_api && chown ted .langgraph_api
USER ted

CMD ["ted-memory", "--help"]
