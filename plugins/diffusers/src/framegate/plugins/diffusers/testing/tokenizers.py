"""Tokenizers that take any text, made without training or downloads; classes as in the real repositories."""

from transformers import CLIPTokenizer, GemmaTokenizer, Qwen2Tokenizer, T5Tokenizer

_PRINTABLE = [chr(code) for code in range(33, 127)]
_SPACE = "\u2581"


def t5_tokenizer() -> T5Tokenizer:
    """Build Wan's: letter by letter, with a few words of its own."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0), (_SPACE, -2.0)]
    vocabulary += [(letter, -3.0) for letter in _PRINTABLE]
    vocabulary += [(_SPACE + word, -2.5) for word in ("a", "the", "cat", "dog", "of", "in", "on", "red")]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=512)


def gemma_tokenizer() -> GemmaTokenizer:
    """Build LTX-2's: byte by byte where it is not printable ASCII."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_image>", "<end_of_image>"]
    special += ["<image_soft_token>", "<start_of_turn>", "<end_of_turn>"]
    pieces = special + [f"<0x{byte:02X}>" for byte in range(256)] + [_SPACE, *_PRINTABLE]
    return GemmaTokenizer(
        vocab={piece: number for number, piece in enumerate(dict.fromkeys(pieces))},
        merges=[],
        model_max_length=1024,
        extra_special_tokens={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    )


def clip_tokenizer() -> CLIPTokenizer:
    """Build the Stable Diffusion family's: byte by byte."""
    letters = _byte_letters()
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=77
    )


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Build Qwen-Image's: byte by byte."""
    pieces = [*_byte_letters(), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return Qwen2Tokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=[],
        pad_token="<|endoftext|>",  # noqa: S106 # not a password
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )


def _byte_letters() -> list[str]:
    """Return the letter that byte-level tokenizers write for each byte: itself where it is printable."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]
