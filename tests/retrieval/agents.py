"""Conditions as critics write them for agents of five kinds, and what such agents are asked."""

# kind -> condition -> questions that it is about; each shares a word with it, in whatever form
AGENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "tools": {
        "the weather tool takes a city and a date": (
            "What will the weather be like in Porto?",
            "Should I pack an umbrella for three cities in the north?",
            "Is the weather good enough for a picnic on Sunday?",
            "Compare Oslo and Rome, which of these cities is warmer now?",
            "Do I need a coat? The date of my flight is the 3rd.",
            "Weather tomorrow please",
        ),
        "booking a flight, hotel or train": (
            "I want to book something from Vienna to Prague.",
            "Which flights leave before noon?",
            "Find me two cheap hotels near the station.",
            "Are there any night trains to Milan?",
            "Cancel my booking, I fell ill.",
            "Can you change my flight to Friday?",
        ),
    },
    "sql": {
        "a SQL query that joins tables with customers and orders": (
            "Which customers have never bought anything?",
            "List the ten largest orders of last year.",
            "Write the query for revenue by month.",
            "Join invoices to payments and show what is unpaid.",
            "How many rows does the table of products have?",
            "Give me SQL for the average basket by country.",
        ),
    },
    "coding": {
        "a Python function that parses or handles files": (
            "Write a function that reads a CSV and sums a column.",
            "Parsing of this log fails at line 3, why?",
            "My Python script crashes when the input is empty.",
            "How do I open large files without filling memory?",
            "Refactor these functions, they are too long.",
            "The parser should skip comments; it is a file of settings.",
        ),
        "a unit test is asked for or fails": (
            "Add tests for the class Stack.",
            "pytest is red: one test of the cache breaks on Windows.",
            "Cover the edge cases of this module with unit tests.",
            "Why is this failing with a timeout?",
            "Is the unit under load tested at all?",
            "The build failed after my last commit.",
        ),
    },
    "writing": {
        "drafting an email or letter to a colleague or boss": (
            "Draft a reply that says no in a kind way.",
            "My boss wants me to work on Saturday; what do I answer?",
            "Shorten this letter to a hundred words.",
            "Make these emails sound less angry.",
            "How do I thank colleagues who helped me move?",
            "I need a first draft of my resignation.",
        ),
    },
}
