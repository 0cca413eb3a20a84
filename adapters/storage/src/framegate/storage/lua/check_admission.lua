-- id, owner, limits and idempotency of a new job as JSON → {outcome, id of the job in question}
return objection(cjson.decode(ARGV[1])) or {'new', ''}
