"""What `spendgate doctor` finds, and what to do about it. A key's `.remedy` is missing where all is well."""

from __future__ import annotations

TEXT: dict[str, dict[str, str]] = {
    "doctor.store_unreachable": {
        "en": "The store does not answer: {reason}.",
        "ko": "저장소가 응답하지 않습니다: {reason}.",
    },
    "doctor.store_unreachable.remedy": {
        "en": "Start it, or correct REDIS_URL; until then every call is refused with 503 store_unavailable.",
        "ko": "저장소를 시작하거나 REDIS_URL을 고치세요. 그때까지 모든 호출은 503 store_unavailable로 거부됩니다.",
    },
    "doctor.version_ok": {
        "en": "{server} {version} is supported.",
        "ko": "{server} {version}은(는) 지원되는 버전입니다.",
    },
    "doctor.version_old": {
        "en": "{server} {version} is too old: {oldest} is the oldest that works.",
        "ko": "{server} {version}은(는) 너무 오래되었습니다. {oldest} 이상이어야 합니다.",
    },
    "doctor.version_old.remedy": {
        "en": "Upgrade the server, or leave REDIS_URL out to use the embedded one.",
        "ko": "서버를 올리거나, REDIS_URL을 빼고 내장 저장소를 쓰세요.",
    },
    "doctor.clock_ok": {
        "en": "This machine's clock and the store's agree.",
        "ko": "이 컴퓨터의 시계와 저장소의 시계가 일치합니다.",
    },
    "doctor.clock_skewed": {
        "en": "This machine's clock and the store's are {seconds} s apart.",
        "ko": "이 컴퓨터의 시계와 저장소의 시계가 {seconds}초 다릅니다.",
    },
    "doctor.clock_skewed.remedy": {
        "en": "Turn on time synchronisation (NTP) on both. Budgets follow the store's clock.",
        "ko": "양쪽에서 시간 동기화(NTP)를 켜세요. 예산 기간은 저장소의 시계를 따릅니다.",
    },
    "doctor.persistence_ok": {
        "en": "Counters survive a restart of the store (append-only file).",
        "ko": "저장소를 다시 시작해도 집계가 남습니다(append-only 파일).",
    },
    "doctor.persistence_snapshots": {
        "en": "The store keeps snapshots only (save {save}): a crash forgets what was spent since the last one.",
        "ko": "저장소가 스냅숏만 남깁니다(save {save}). 장애가 나면 마지막 스냅숏 뒤의 지출을 잊습니다.",
    },
    "doctor.persistence_snapshots.remedy": {
        "en": "Set appendonly yes on the store (redis-cli CONFIG SET appendonly yes, and in its configuration file).",
        "ko": "저장소에 appendonly yes를 설정하세요(redis-cli CONFIG SET appendonly yes, 설정 파일에도).",
    },
    "doctor.persistence_none": {
        "en": "The store keeps nothing on disk: a restart forgets everything that was spent.",
        "ko": "저장소가 디스크에 아무것도 남기지 않습니다. 다시 시작하면 모든 지출 기록을 잊습니다.",
    },
    "doctor.persistence_none.remedy": {
        "en": "Set appendonly yes on the store (redis-cli CONFIG SET appendonly yes, and in its configuration file).",
        "ko": "저장소에 appendonly yes를 설정하세요(redis-cli CONFIG SET appendonly yes, 설정 파일에도).",
    },
    "doctor.persistence_failing": {
        "en": "The store's last write to disk failed ({what}).",
        "ko": "저장소의 마지막 디스크 쓰기가 실패했습니다({what}).",
    },
    "doctor.persistence_failing.remedy": {
        "en": "Look at the disk's free space and the store's log.",
        "ko": "디스크의 남은 공간과 저장소의 로그를 확인하세요.",
    },
    "doctor.eviction_ok": {
        "en": "The store drops nothing when its memory is full (noeviction).",
        "ko": "저장소는 메모리가 차도 아무것도 버리지 않습니다(noeviction).",
    },
    "doctor.eviction": {
        "en": "The store may drop counters when its memory is full (maxmemory-policy {policy}).",
        "ko": "저장소가 메모리가 차면 집계를 버릴 수 있습니다(maxmemory-policy {policy}).",
    },
    "doctor.eviction.remedy": {
        "en": "Set maxmemory-policy noeviction on the store, or give spendgate a store of its own.",
        "ko": "저장소에 maxmemory-policy noeviction을 설정하거나, spendgate에 전용 저장소를 주세요.",
    },
    "doctor.memory_ok": {
        "en": "The store uses {percent} % of its {limit} MiB.",
        "ko": "저장소가 {limit} MiB 가운데 {percent} %를 씁니다.",
    },
    "doctor.memory_full": {
        "en": "The store uses {percent} % of its {limit} MiB; when it is full, every call is refused.",
        "ko": "저장소가 {limit} MiB 가운데 {percent} %를 씁니다. 가득 차면 모든 호출이 거부됩니다.",
    },
    "doctor.memory_full.remedy": {
        "en": "Raise maxmemory, or delete ledgers of old months (docs/redis.md).",
        "ko": "maxmemory를 올리거나, 오래된 달의 원장을 지우세요(docs/redis.md).",
    },
    "doctor.counters_ok": {
        "en": "Counters agree with the ledger and the calls in flight ({count} current budget periods).",
        "ko": "집계가 원장 및 진행 중인 호출과 일치합니다(현재 예산 기간 {count}개).",
    },
    "doctor.spent_differs": {
        "en": "Budget {budget} {period}: the counter says {counted} was spent, its ledger entries sum to {expected}.",
        "ko": "예산 {budget} {period}: 집계는 {counted} 지출이라 하지만 원장의 합은 {expected}입니다.",
    },
    "doctor.spent_differs.remedy": {
        "en": "Somebody changed keys by hand. If the ledger is right, run in redis-cli: {repair}",
        "ko": "누군가 키를 직접 바꾸었습니다. 원장이 맞다면 redis-cli에서 실행하세요: {repair}",
    },
    "doctor.reserved_differs": {
        "en": "Budget {budget} {period}: the counter says {counted} is reserved, the calls in flight hold {expected}.",
        "ko": "예산 {budget} {period}: 집계는 {counted} 예약이라 하지만 진행 중인 호출이 잡은 것은 {expected}입니다.",
    },
    "doctor.reserved_differs.remedy": {
        "en": "Somebody changed keys by hand. To release what nobody holds, run in redis-cli: {repair}",
        "ko": "누군가 키를 직접 바꾸었습니다. 아무도 잡지 않은 예약을 풀려면 redis-cli에서 실행하세요: {repair}",
    },
    "doctor.concurrent_differs": {
        "en": "Limit on calls at once of {place}: the counter says {counted} are running, {expected} calls in flight are counted by it.",
        "ko": "{place}의 동시 호출 한도: 집계는 {counted}건이 진행 중이라 하지만, 진행 중인 호출 가운데 여기에 세는 것은 {expected}건입니다.",
    },
    "doctor.concurrent_differs.remedy": {
        "en": "Somebody changed keys by hand. Too high a count refuses calls for which there is room. To correct it, run in redis-cli: {repair}",
        "ko": "누군가 키를 직접 바꾸었습니다. 집계가 너무 크면 자리가 있어도 호출을 거절합니다. 바로잡으려면 redis-cli에서 실행하세요: {repair}",
    },
    "doctor.reservations_ok": {
        "en": "Every reservation is alive or was reclaimed.",
        "ko": "모든 예약이 살아 있거나 정리되었습니다.",
    },
    "doctor.expired_unclaimed": {
        "en": "{count} reservations have run out and no running proxy reclaims them.",
        "ko": "기한이 지난 예약 {count}개를 실행 중인 프록시가 정리하지 않고 있습니다.",
    },
    "doctor.expired_unclaimed.remedy": {
        "en": "Look at the log of the running proxies; restart them if they do not write any.",
        "ko": "실행 중인 프록시의 로그를 확인하고, 로그가 없으면 다시 시작하세요.",
    },
    "doctor.expired_no_proxy": {
        "en": "{count} reservations of a proxy that died have run out, and no proxy runs that could reclaim them.",
        "ko": "죽은 프록시의 기한 지난 예약이 {count}개 있고, 이를 정리할 프록시가 없습니다.",
    },
    "doctor.expired_no_proxy.remedy": {
        "en": "Start a proxy (spendgate serve): it charges them at their estimate within seconds.",
        "ko": "프록시를 시작하세요(spendgate serve). 몇 초 안에 예상 금액으로 정산합니다.",
    },
    "doctor.unreadable_reservations": {
        "en": "{count} reservations cannot be read: another program, or another version of it, writes these keys.",
        "ko": "읽을 수 없는 예약이 {count}개 있습니다. 다른 프로그램이나 다른 버전이 이 키에 쓰고 있습니다.",
    },
    "doctor.unreadable_reservations.remedy": {
        "en": "Look at them with redis-cli (docs/redis.md, calls in flight) and delete what is not a reservation.",
        "ko": "redis-cli로 확인하고(docs/redis.md의 진행 중인 호출), 예약이 아닌 것은 지우세요.",
    },
    "doctor.proxies_ok": {
        "en": "Running proxies: {count}; none reports a problem.",
        "ko": "실행 중인 프록시: {count}개. 문제를 알린 프록시가 없습니다.",
    },
    "doctor.proxy_rules_refused": {
        "en": "Proxy {proxy} could not load {file} and keeps its earlier rules: {errors}",
        "ko": "프록시 {proxy}가 {file}을 읽지 못해 이전 규칙을 그대로 씁니다: {errors}",
    },
    "doctor.proxy_rules_refused.remedy": {
        "en": "Run spendgate check {file}, correct it and save; the proxy loads it within a second.",
        "ko": "spendgate check {file}을 실행해 고치고 저장하세요. 프록시가 1초 안에 다시 읽습니다.",
    },
    "doctor.rules_differ": {
        "en": "The running proxies do not have the same rules ({digests}).",
        "ko": "실행 중인 프록시들의 규칙이 서로 다릅니다({digests}).",
    },
    "doctor.rules_differ.remedy": {
        "en": "Give all of them the same rules.yaml; the budgets they share take the limit of whoever asked last.",
        "ko": "모두 같은 rules.yaml을 쓰게 하세요. 함께 쓰는 예산의 한도는 마지막에 물은 프록시를 따릅니다.",
    },
    "doctor.settlements_waiting": {
        "en": "{count} settlements wait in the memory of running proxies because the store did not take them.",
        "ko": "저장소가 받지 않아 정산 {count}건이 실행 중인 프록시의 메모리에서 기다립니다.",
    },
    "doctor.settlements_waiting.remedy": {
        "en": "Do not stop these proxies now; look at the store's log and free memory.",
        "ko": "지금 이 프록시들을 멈추지 말고, 저장소의 로그와 남은 메모리를 확인하세요.",
    },
    "doctor.rules_ok": {"en": "{file} has no mistakes.", "ko": "{file}에 잘못이 없습니다."},
    "doctor.rules_mistake": {"en": "{file}: {mistake}", "ko": "{file}: {mistake}"},
    "doctor.rules_mistake.remedy": {
        "en": "Run spendgate check {file} and correct it; running proxies keep their earlier rules.",
        "ko": "spendgate check {file}을 실행해 고치세요. 실행 중인 프록시는 이전 규칙을 그대로 씁니다.",
    },
    "doctor.lifetimes_ok": {
        "en": "Every key has a lifetime.",
        "ko": "모든 키에 수명이 있습니다.",
    },
    "doctor.no_lifetime": {
        "en": "{count} keys have no lifetime: {keys}.",
        "ko": "수명이 없는 키가 {count}개 있습니다: {keys}.",
    },
    "doctor.no_lifetime.remedy": {
        "en": "Somebody used PERSIST on them or made them by hand; EXPIRE them (docs/redis.md has the lifetimes).",
        "ko": "누군가 PERSIST를 썼거나 직접 만든 키입니다. EXPIRE로 수명을 주세요(수명은 docs/redis.md에 있습니다).",
    },
}
