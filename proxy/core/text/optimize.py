"""What recommendations and next month's plan say."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "recommend.paid_errors": {
        "en": "{failed} of {calls} calls of {about} failed and were paid for; {retried} of them were retries. A circuit breaker stops paying while the API is ill.",
        "ko": "{about} 호출 {calls}건 중 {failed}건이 실패했는데도 값을 냈고, 그중 {retried}건은 재시도였습니다. 차단기를 두면 API에 문제가 있는 동안 돈을 내지 않습니다.",
    },
    "recommend.repeats": {
        "en": "{repeated} of {calls} calls of {about} repeat one that the same caller made earlier the same day (same address, query and body). A kept answer costs nothing.",
        "ko": "{about} 호출 {calls}건 중 {repeated}건이 같은 호출자가 같은 날 이미 한 호출과 똑같습니다(주소, 쿼리, 본문이 같음). 답을 보관해 두면 돈이 들지 않습니다.",
    },
    "recommend.cheaper_model": {
        "en": "{short} of {calls} calls of {about} are short. {smaller} answers such calls for less than {model}; the saving is computed from their own tokens. A ladder gives short calls the smaller model.",
        "ko": "{about} 호출 {calls}건 중 {short}건이 짧습니다. 이런 호출은 {smaller}가 {model}보다 싸게 답합니다. 절감액은 그 호출들의 실제 토큰으로 계산했습니다. 사다리 규칙을 쓰면 짧은 호출에 작은 모델을 씁니다.",
    },
    "recommend.prompt_cache": {
        "en": "{calls} calls of {about} read long prompts at the full price of {model}. If only {prefix} tokens at their beginning are always the same, the provider's prompt cache makes them cheaper.",
        "ko": "{about} 호출 {calls}건이 긴 프롬프트를 {model}의 정가로 읽었습니다. 앞부분 {prefix}토큰만 늘 같아도 제공자의 프롬프트 캐시로 더 싸집니다.",
    },
    "recommend.idle": {
        "en": "{about} was used to {mean} on average over {days} days (at most {peak}; idle below {bound}). Half the size would carry that, at about half the rent.",
        "ko": "{about}의 지난 {days}일 평균 사용률은 {mean}입니다(최대 {peak}, 기준 {bound}). 절반 크기로도 충분하고 비용도 절반쯤 됩니다.",
    },
    "recommend.idle.program": {
        "en": "Move it to something half as large, or stop it while nobody needs it, as one of the services; then enter its new rent.",
        "ko": "절반 크기로 옮기거나 아무도 쓰지 않을 때 서비스(services)로 멈추고, 바뀐 비용을 입력해 주세요.",
    },
    "recommend.growth": {
        "en": "{about} has grown from {then} to {now} in {days} days ({percent} %). At its size of then it would cost as much less.",
        "ko": "{about}의 크기가 {days}일 만에 {then}에서 {now}로 {percent} % 늘었습니다. 그때 크기라면 비용도 그만큼 줄어듭니다.",
    },
    "recommend.growth.program": {
        "en": "Delete what nobody needs any more, or let it expire (a lifecycle rule, a shorter retention); then enter its new rent.",
        "ko": "필요 없는 것을 지우거나 보존 기간을 줄이고(수명 주기 규칙), 바뀐 비용을 입력해 주세요.",
    },
    "recommend.prompt_cache.program": {
        "en": "The program has to put the constant part first and switch the provider's prompt caching on; the catalogue then prices cached tokens by itself. The limit keeps the saving.",
        "ko": "프로그램에서 변하지 않는 부분을 앞에 두고 제공자의 프롬프트 캐시를 켜 주세요. 캐시된 토큰 값은 단가표가 알아서 계산하고, 아래 한도는 줄어든 금액을 지킵니다.",
    },
    "recommend.batch.program": {
        "en": "The program has to gather these calls and send them to {endpoint}. Their bill comes with the results: enter it with spendgate charge. The lines let the batch's own requests pass and keep the saving.",
        "ko": "프로그램에서 이 호출들을 모아 {endpoint}에 보내 주세요. 요금은 결과와 함께 정해지니 spendgate charge로 입력하면 됩니다. 아래 줄은 배치 요청을 통과시키고 줄어든 금액을 지킵니다.",
    },
    "recommend.free_tier.program": {
        "en": "The program has to send to {rule} what can go there. The limit on {other} keeps the saving.",
        "ko": "프로그램에서 옮길 수 있는 호출을 {rule}로 보내 주세요. {other}에 거는 한도가 줄어든 금액을 지킵니다.",
    },
    "recommend.subscription.program": {
        "en": "Take the subscription first, and give the program its key if there is a new one. The lines count its rent instead of its calls.",
        "ko": "먼저 구독을 신청하고, 새 키가 있으면 프로그램에 넣어 주세요. 아래 줄을 넣으면 호출 대신 구독료를 셉니다.",
    },
    "recommend.batch": {
        "en": "{burst} of {calls} calls of {about} came 20 or more a minute from one caller. The provider's batch endpoint takes such calls at half the price, with an answer within a day.",
        "ko": "{about} 호출 {calls}건 중 {burst}건이 한 호출자에게서 1분에 20건 넘게 왔습니다. 제공자의 배치 API는 하루 안에 답하는 대신 반값입니다.",
    },
    "recommend.off_hours": {
        "en": "{share} % of what {about} costs is spent at night and at weekends ({night} calls). Half of it is taken as avoidable; a daily limit keeps it.",
        "ko": "{about} 비용의 {share} %가 밤과 주말에 쓰였습니다({night}건). 그 절반은 줄일 수 있다고 보았고, 일 한도로 지킬 수 있습니다.",
    },
    "recommend.headroom": {
        "en": "Calls of {about} reserve {times} times what they cost, because max_tokens stands far above use. A closer bound saves no money but lets more calls fit into the budget.",
        "ko": "{about} 호출은 실제 비용의 {times}배를 예약합니다. max_tokens가 실제보다 훨씬 크기 때문입니다. 한도를 맞추면 돈이 줄지는 않지만 예산에 더 많은 호출이 들어갑니다.",
    },
    "recommend.subscription": {
        "en": "Calls of {api} cost {spent} a month; the subscription {about} covers them for {price}.",
        "ko": "{api} 호출에 한 달 {spent}이 듭니다. 구독 {about}은 {price}에 이 호출들을 모두 포함합니다.",
    },
    "recommend.free_tier": {
        "en": "{unused} free calls a month of {rule} stay unused while {other} is paid for.",
        "ko": "{rule}의 무료 호출이 매달 {unused}건 남는데 {other}에는 돈을 내고 있습니다.",
    },
    "cli.recommend.summary": {
        "en": "Show where money could be saved, and how.",
        "ko": "어디서 어떻게 돈을 아낄 수 있는지 보여 줍니다.",
    },
    "cli.recommend.about": {
        "en": """Looks at the last 30 days of the ledger and tells where money could be saved: how much a month, why, and
            which lines of rules.yaml do it. Where two recommendations are about the same calls, the money is counted
            once: each saving is what remains after the better ones. Effort is 1 (a line), 2 (a change) or 3 (work).""",
        "ko": """원장의 지난 30일을 보고 어디서 돈을 아낄 수 있는지, 한 달에 얼마인지, 왜 그런지, rules.yaml의 어떤 줄이면
            되는지 알려 줍니다. 같은 호출에 대한 권장이 둘이면 돈은 한 번만 셉니다. 절감액은 더 나은 권장을 따른 뒤에 남는
            몫입니다. 노력은 1(한 줄), 2(변경), 3(작업)입니다.""",
    },
    "cli.recommend.examples": {
        "en": """\
spendgate recommend
spendgate recommend --json
spendgate recommend --snooze batch:openai/generation --days 60""",
        "ko": """\
spendgate recommend
spendgate recommend --json
spendgate recommend --snooze batch:openai/generation --days 60""",
    },
    "cli.opt.recommend_dismiss": {
        "en": "Never show this recommendation again.",
        "ko": "이 권장을 다시 보여 주지 않습니다.",
    },
    "cli.opt.recommend_snooze": {
        "en": "Do not show this recommendation for --days days.",
        "ko": "이 권장을 --days일 동안 보여 주지 않습니다.",
    },
    "cli.opt.recommend_days": {"en": "How long --snooze lasts (default 30).", "ko": "--snooze의 기간 (기본 30일)."},
    "cli.opt.recommend_restore": {
        "en": "Show a recommendation again that was dismissed or snoozed.",
        "ko": "숨긴 권장을 다시 보여 줍니다.",
    },
    "cli.recommend.one_at_a_time": {
        "en": "give one of --dismiss, --snooze and --restore.",
        "ko": "--dismiss, --snooze, --restore 중 하나만 주세요.",
    },
    "cli.recommend.no_such": {
        "en": "there is no recommendation {id} at the moment.",
        "ko": "지금은 {id} 권장이 없습니다.",
    },
    "cli.recommend.aside": {"en": "{id} is set aside.", "ko": "{id} 권장을 숨겼습니다."},
    "cli.recommend.restored": {"en": "{id} is shown again.", "ko": "{id} 권장을 다시 보여 줍니다."},
    "cli.recommend.none": {
        "en": "There is nothing to recommend: the last 30 days show no clear saving.",
        "ko": "권장할 것이 없습니다. 지난 30일에 뚜렷이 아낄 곳이 보이지 않습니다.",
    },
    "cli.recommend.saving": {
        "en": "{id}: {saving} a month (effort {effort} of 3)",
        "ko": "{id}: 한 달에 {saving} (노력 3 중 {effort})",
    },
    "cli.recommend.total": {
        "en": "All of it together: {saving} a month.",
        "ko": "모두 합하면 한 달에 {saving}입니다.",
    },
    "cli.recommend.hidden": {
        "en": "Set aside and not shown: {count}.",
        "ko": "숨겨서 보여 주지 않은 권장: {count}개.",
    },
    "cli.plan.summary": {
        "en": "Propose next month's budgets, by API.",
        "ko": "다음 달 예산을 API별로 제안합니다.",
    },
    "cli.plan.about": {
        "en": """Proposes next month's money by API: what the forecast expects, what the recommendations would save, and a
            limit that leaves room for a usual surprise. Where all limits together are more than the monthly budget, the
            less important APIs get less. The lines at the end go into rules.yaml.""",
        "ko": """다음 달 예산을 API별로 제안합니다. 예측한 금액, 권장을 따르면 줄어드는 금액, 흔한 변동까지 견디는 한도를
            보여 줍니다. 한도를 모두 더해 월 예산을 넘으면 덜 중요한 API의 몫을 줄입니다. 마지막 줄들을 rules.yaml에
            넣으면 됩니다.""",
    },
    "cli.plan.examples": {
        "en": "spendgate plan\nspendgate plan --json",
        "ko": "spendgate plan\nspendgate plan --json",
    },
    "cli.plan.none": {
        "en": "Nothing has been spent yet, so there is nothing to plan by.",
        "ko": "아직 쓴 돈이 없어 계획의 근거가 없습니다.",
    },
    "cli.plan.month": {"en": "{month}: limits of {total} in all.", "ko": "{month}: 한도를 모두 더하면 {total}입니다."},
    "cli.plan.fits": {"en": "That fits into the monthly budget of {budget}.", "ko": "월 예산 {budget} 안에 듭니다."},
    "cli.plan.squeezed": {
        "en": "The forecast asks for more than the monthly budget of {budget}; less important APIs get less.",
        "ko": "예측대로면 월 예산 {budget}을 넘어 덜 중요한 API의 한도를 줄였습니다.",
    },
    "cli.plan.head.api": {"en": "API", "ko": "API"},
    "cli.plan.head.expected": {"en": "Expected", "ko": "예상"},
    "cli.plan.head.interval80": {"en": "80 % interval", "ko": "80 % 구간"},
    "cli.plan.head.saving": {"en": "Could be saved", "ko": "절감 가능"},
    "cli.plan.head.limit": {"en": "Limit", "ko": "한도"},
    "cli.plan.change": {"en": "For rules.yaml:", "ko": "rules.yaml에 넣을 내용:"},
}
