"""For Python programs that call APIs without the proxy: the same rules, the same store, the same scripts.

    decorators.py   what programs use: budget_controlled_api, api_rate_limited, budget
    call.py         one call from its question to its bill
    question.py     a function's call in the terms of rules.yaml; endpoints.py: what it would be as a request
    answers.py      what results and exceptions tell
    streams.py      results that go on after their function has returned
    host.py         the background thread with the connection to the store; configure, flush
    errors.py       refusals as exceptions

Programs import the names from `proxy`, not from here.
"""
