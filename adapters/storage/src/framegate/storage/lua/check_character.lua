-- Check whether an owner may have a further character.
-- Arguments: owner, the most characters that it may have, the most bytes that it may store (0: no limit).
-- Returns: {outcome, how many characters or bytes the owner has}; the outcomes are free, characters, stored.
return find_character_refusal(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), 0) or {'free', '0'}
