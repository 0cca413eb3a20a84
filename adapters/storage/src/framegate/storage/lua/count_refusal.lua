-- Count a submission that was refused for a reason that Valkey does not know.
-- Arguments: AdmissionCheck as JSON.
count_refusal(cjson.decode(ARGV[1]))
