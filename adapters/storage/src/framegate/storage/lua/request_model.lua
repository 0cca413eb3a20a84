-- Let all workers that serve a model load it, or unload it.
-- Arguments: id of the model, '1' to load it, what is said on the workers' channels.
request_model(ARGV[1], {load = ARGV[2] == '1'}, ARGV[3])
