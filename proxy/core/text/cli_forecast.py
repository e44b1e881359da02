"""What `spendgate forecast` says."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "cli.forecast.summary": {
        "en": "Say what the rest of the period will cost.",
        "ko": "기간이 끝날 때까지 얼마가 들지 예측합니다.",
    },
    "cli.forecast.about": {
        "en": """Forecasts where each budget and each API will be at the end of its period, with the interval that
            holds the true value four times out of five. The models are weighed by how well each of them did on your
            own past days. With --csv it does the same for any file with the columns date and value.

            backtest forecasts the past months as if they were still to come, and shows how wrong each model was, beside
            the simple habits: the daily average, the last seven days repeated, a straight line.""",
        "ko": """예산과 API마다 기간 말에 얼마가 될지, 그리고 실제 값이 다섯 번 중 네 번은 들어가는 구간을 예측합니다.
            모델의 비중은 지난 날들을 얼마나 잘 맞혔는지에 따라 정해집니다. --csv를 주면 date와 value 열이 있는 어떤
            파일이든 같은 방식으로 예측합니다.

            backtest는 지난 달들을 아직 오지 않은 것처럼 예측해 모델마다 얼마나 틀렸는지를 단순한 방법들(하루 평균,
            지난 7일 반복, 직선)과 나란히 보여 줍니다.""",
    },
    "cli.forecast.examples": {
        "en": """\
spendgate forecast
spendgate forecast --json
spendgate forecast backtest
spendgate forecast --csv days.csv --as-of 2026-11-15 --json
spendgate forecast backtest --csv days.csv""",
        "ko": """\
spendgate forecast
spendgate forecast --json
spendgate forecast backtest
spendgate forecast --csv days.csv --as-of 2026-11-15 --json
spendgate forecast backtest --csv days.csv""",
    },
    "cli.opt.forecast_csv": {
        "en": "A file with the columns date and value instead of the ledger (- reads standard input).",
        "ko": "원장 대신 쓸, date와 value 열이 있는 파일 (-는 표준 입력).",
    },
    "cli.opt.forecast_as_of": {
        "en": "With --csv: the last day to know (default: the last one in the file).",
        "ko": "--csv와 함께: 알고 있는 마지막 날 (기본: 파일의 마지막 날).",
    },
    "cli.opt.forecast_country": {
        "en": "Whose public holidays count, such as KR (default: by the rules' time zone; with --csv none).",
        "ko": "공휴일을 따를 나라, 예: KR (기본: 규칙의 시간대로 정함, --csv에서는 없음).",
    },
    "cli.forecast.as_of_alone": {
        "en": "--as-of needs --csv: budgets are always forecast from this moment on.",
        "ko": "--as-of는 --csv와 함께 써야 합니다. 예산은 항상 지금부터 예측합니다.",
    },
    "cli.forecast.short_row": {
        "en": "{path}, line {line}: a date and a value are needed, such as 2026-11-05,1200.",
        "ko": "{path} {line}번째 줄: 날짜와 값이 필요합니다. 예: 2026-11-05,1200",
    },
    "cli.forecast.bad_date": {
        "en": "{path}, line {line}: “{text}” is not a date; write it like 2026-11-05.",
        "ko": "{path} {line}번째 줄: ‘{text}’는 날짜가 아닙니다. 2026-11-05처럼 적어 주세요.",
    },
    "cli.forecast.bad_value": {
        "en": "{path}, line {line}: “{text}” is not an amount; write a number from 0 up, such as 1200.5.",
        "ko": "{path} {line}번째 줄: ‘{text}’는 금액이 아닙니다. 1200.5처럼 0 이상의 수를 적어 주세요.",
    },
    "cli.forecast.bad_as_of": {
        "en": "--as-of cannot be “{text}”; write a date like 2026-11-05.",
        "ko": "--as-of에 ‘{text}’ 값은 쓸 수 없습니다. 2026-11-05처럼 적어 주세요.",
    },
    "cli.forecast.bad_country": {
        "en": "--country cannot be “{text}”: no holidays are known of it. Write a code of two letters, such as KR.",
        "ko": "--country에 ‘{text}’ 값은 쓸 수 없습니다. 공휴일을 아는 나라가 아닙니다. KR처럼 두 글자로 적어 주세요.",
    },
    "cli.forecast.empty": {"en": "{path} holds no day.", "ko": "{path} 파일에 날짜가 하나도 없습니다."},
    "cli.forecast.too_long": {
        "en": "{path}: the days reach from {first} to {last}; one of these dates must be wrong.",
        "ko": "{path}: 날짜가 {first}부터 {last}까지입니다. 둘 중 하나는 잘못되었습니다.",
    },
    "cli.forecast.too_early": {
        "en": "--as-of {as_of} is before the first day of the file, {first}.",
        "ko": "--as-of {as_of}는 파일의 첫날 {first}보다 앞입니다.",
    },
    "cli.forecast.file": {
        "en": "By {end}: {value} (of which {spent} by {as_of}).",
        "ko": "{end}까지 {value}로 예상됩니다 (그중 {as_of}까지 {spent}).",
    },
    "cli.forecast.interval": {
        "en": "{level} % of the time: between {low} and {high}.",
        "ko": "{level} % 확률로 {low}에서 {high} 사이입니다.",
    },
    "cli.forecast.basis.known": {"en": "No day is left.", "ko": "남은 날이 없습니다."},
    "cli.forecast.basis.none": {"en": "Nothing was ever spent.", "ko": "쓴 적이 없습니다."},
    "cli.forecast.basis.stopped": {
        "en": "Nothing has been spent for longer than ever before: no more is expected.",
        "ko": "어느 때보다 오래 쓰지 않아 더 쓰지 않을 것으로 봅니다.",
    },
    "cli.forecast.basis.short": {
        "en": "There are fewer than three weeks of history: take it as a rough guess.",
        "ko": "기록이 3주가 되지 않아 대략의 추정입니다.",
    },
    "cli.forecast.basis.history": {
        "en": "Each model counts as much as its past errors on this series allow.",
        "ko": "모델마다 이 자료에서 지난날 틀린 만큼 비중을 줄였습니다.",
    },
    "cli.forecast.basis.year": {
        "en": "Each model counts as much as its past errors allow; last year's same days are among them.",
        "ko": "모델마다 지난날 틀린 만큼 비중을 줄였고, 작년 같은 날도 함께 봤습니다.",
    },
    "cli.forecast.model": {"en": "Model", "ko": "모델"},
    "cli.forecast.month_end": {"en": "Month's end", "ko": "월말"},
    "cli.forecast.model.ensemble": {"en": "ensemble (the answer)", "ko": "앙상블 (답)"},
    "cli.forecast.model.naive": {"en": "yesterday, every day", "ko": "어제 그대로"},
    "cli.forecast.model.daily_average": {"en": "the month's daily average", "ko": "이달의 하루 평균"},
    "cli.forecast.model.plain_linear": {"en": "straight line without weekdays", "ko": "요일 없는 직선"},
    "cli.forecast.model.seasonal_naive": {"en": "the last seven days repeated", "ko": "지난 7일 반복"},
    "cli.forecast.model.linear": {"en": "linear", "ko": "선형"},
    "cli.forecast.model.polynomial": {"en": "polynomial", "ko": "다항식"},
    "cli.forecast.model.seasonal": {"en": "seasonal (weekdays)", "ko": "계절성 (요일)"},
    "cli.forecast.model.smoothed": {"en": "smoothed level", "ko": "평활 수준"},
    "cli.forecast.model.quick": {"en": "quickly smoothed level", "ko": "빠른 평활 수준"},
    "cli.forecast.model.theta": {"en": "theta", "ko": "세타"},
    "cli.forecast.model.drift": {"en": "weekly drift", "ko": "주간 추세"},
    "cli.forecast.model.year_week": {"en": "last year, level of a week", "ko": "작년 같은 날, 1주 수준"},
    "cli.forecast.model.year_fortnight": {"en": "last year, level of two weeks", "ko": "작년 같은 날, 2주 수준"},
    "cli.forecast.model.year_month": {"en": "last year, level of four weeks", "ko": "작년 같은 날, 4주 수준"},
    "cli.forecast.model.year_step": {"en": "last year's step", "ko": "작년의 변화"},
    "cli.forecast.no_history": {
        "en": "Nothing has been counted yet; the forecast begins with the first call that costs money.",
        "ko": "아직 집계된 것이 없습니다. 돈이 드는 첫 호출부터 예측이 시작됩니다.",
    },
    "cli.forecast.kind.budget": {"en": "budget {name}", "ko": "예산 {name}"},
    "cli.forecast.kind.api": {"en": "API {name}", "ko": "API {name}"},
    "cli.forecast.head.scope": {"en": "What", "ko": "대상"},
    "cli.forecast.head.period": {"en": "Period", "ko": "기간"},
    "cli.forecast.head.spent": {"en": "Spent", "ko": "지금까지"},
    "cli.forecast.head.period_end": {"en": "At its end", "ko": "기간 말"},
    "cli.forecast.head.interval80": {"en": "80 % interval", "ko": "80 % 구간"},
    "cli.forecast.head.past_error": {"en": "Past error", "ko": "지난 오차"},
    "cli.forecast.head.verdict": {"en": "Limit", "ko": "한도"},
    "cli.forecast.verdict.fits": {"en": "will hold", "ko": "지켜집니다"},
    "cli.forecast.verdict.may": {"en": "may be passed", "ko": "넘을 수 있습니다"},
    "cli.forecast.verdict.over": {"en": "passed on {day}", "ko": "{day}에 넘습니다"},
    "cli.forecast.verdict.already": {"en": "used up", "ko": "다 썼습니다"},
    "cli.forecast.everything": {"en": "everything together", "ko": "전체"},
    "cli.forecast.backtest.none": {
        "en": "{name}: no whole month has four weeks before it yet, so there is nothing to test.",
        "ko": "{name}: 앞에 4주의 기록이 있는 온전한 달이 아직 없어 시험할 것이 없습니다.",
    },
    "cli.forecast.backtest.about": {
        "en": "{name}: median errors over {months} months; the 80 % interval held {c80} %, the 95 % one {c95} %.",
        "ko": "{name}: {months}개월의 오차 중앙값입니다. 80 % 구간에 {c80} %, 95 % 구간에 {c95} %가 들었습니다.",
    },
    "cli.forecast.backtest.day": {"en": "day {day}", "ko": "{day}일"},
    "cli.forecast.backtest.mean": {"en": "mean", "ko": "평균"},
    "cli.forecast.backtest.ratio": {"en": "to 7 days", "ko": "7일 반복 대비"},
}
