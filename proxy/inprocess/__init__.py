"""For Python programs that call APIs without the proxy: the same rules, the same store, the same scripts.

    decorators.py   what programs use: budget_controlled_api, api_rate_limited, budget
    control.py      from a function's arguments to an admitted call
    call.py         one call from there to its bill
    question.py     a function's call in the terms of rules.yaml; endpoints.py: what it would be as a request
    answers.py      what results and exceptions tell
    reading.py      what results tell the rule that prices the call
    streams.py      results that go on after their function has returned
    direct.py       questions and statements on connections of the callers' own; detour.py: the long way round
    host.py         the rules, the gate, the background thread that looks after what is under way; configure, flush
    errors.py       refusals as exceptions

Programs import the names from `proxy`, not from here.
"""
