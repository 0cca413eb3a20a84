-- Check whether a new job would be admitted; a refusal is counted.
-- Arguments: AdmissionCheck as JSON.
-- Returns: {outcome, id of the job in question, bytes of its owner's files or records if they are too many}.
return find_refusal(cjson.decode(ARGV[1])) or {'new', ''}
