-- Check whether a new job would be admitted; a refusal is counted.
-- Arguments: AdmissionCheck as JSON.
-- Returns: {outcome, id of the job in question}, and its hash if it is an earlier one, or what its owner has too much of:
-- bytes of files or records, or GPU seconds with the seconds until there are more.
return find_refusal(cjson.decode(ARGV[1])) or {'new', ''}
