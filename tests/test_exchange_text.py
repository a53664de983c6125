"""Models of text that go in and out: tiny networks of Hugging Face's with random weights, imported, scored, trained on and
exported again, beside what their own library says of the same text."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn

from command_line import QUICK, done, typed
from peers import shaken
from seminal.core import Reading
from seminal.data import stream
from seminal.data.given import known_parts, renumbered, restored, tokenizer_in
from seminal.data.text_rows import Known
from seminal.decode.rules import Rules, translating
from seminal.decode.sampling import write
from seminal.papers import transformer
from seminal.pieces.tokens import BEGIN, END, PAD
from seminal.runs import training
from seminal.runs.asks import DataAsk, RecipeAsk, RunAsk
from seminal.runs.folder import RunFolder
from seminal.runs.making import Maker
from seminal.runs.plan import best_model, encoder_of, plan_of
from seminal.weights.reading import checkpoint
from texts import language, sentences

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
TEXTS = ("the small ship waits", "The red  house\n\n  falls, 12 times", "日本語 naïve", " the\n", "a 'll")
D, H, N, PLACES = 24, 4, 2, 48
TEXT_END = "<|endoftext|>"


@pytest.fixture(scope="module")
def peers():
    return pytest.importorskip("transformers", reason="transformers is not installed: no peer to compare with")


def begun(variant, data, recipe, ask):
    """A run with random weights in the place of learned ones: what goes out does not ask where they are from."""
    plan, source = Maker(variant, data, recipe, replace(ask, precision="fp32")).plan()
    run = training.begin(plan, source, CPU)
    weights = shaken(run.model).state_dict()
    for name in ("best.safetensors", "last.safetensors"):
        run.folder.write_tensors(name, weights, {"variant": variant})
    return run.folder.path


def model_of_run(run):
    folder = RunFolder.existing(run)
    return best_model(folder, plan_of(folder), CPU)


def reader_of_run(run):
    return encoder_of(RunFolder.existing(run))


def greedy_of(model, source, count):
    """(B, 1 + count) the most probable tokens, one after the other."""
    return write(model, source, translating(source)[0], Rules(longest=count)).tokens[:, 0]


def lines_of(folder):
    return language(folder).read_text().splitlines(keepends=True)


# ----------------------------------------------------------------------------------------------------------- tokenisers


def over_bytes(lines, size=300):
    """As GPT-2's: over bytes, the ending of a text last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [*lines, *TEXTS], trainers.BpeTrainer(vocab_size=size - 1, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens([TEXT_END])
    return tokenizer


def of_words(lines, size=120):
    """As GPT's: lower case, a sign for the end of each word, an unknown token and no other special one."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    tokenizer.train_from_iterator(
        [*lines, "a, b. c!"],
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False,
            initial_alphabet=[*"abcdefghijklmnopqrstuvwxyz", ",", ".", "!"],
        ),
    )  # fmt: skip
    return tokenizer


def as_marians(lines, size=150, special=("</s>", "<unk>", "<s>", "<pad>")):
    """As Marian's: the ending first; spaces as signs."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), show_progress=False)
    )
    return tokenizer


# ------------------------------------------------------------------------------------------------- folders of others


def gpt2_folder(peers, place, rows=300):
    """A GPT-2 with random weights, as its own library saves it."""
    tokenizer = over_bytes(lines_of(place), 300)
    end = tokenizer.token_to_id(TEXT_END)
    config = peers.GPT2Config(
        vocab_size=rows, n_positions=PLACES, n_embd=D, n_layer=N, n_head=H, bos_token_id=end, eos_token_id=end
    )
    theirs = shaken(peers.GPT2LMHeadModel(config))
    theirs.save_pretrained(place / "theirs")
    tokenizer.save(str(place / "theirs" / "tokenizer.json"))
    return theirs, tokenizer


def gpt_folder(peers, place):
    tokenizer = of_words(lines_of(place))
    config = peers.OpenAIGPTConfig(
        vocab_size=tokenizer.get_vocab_size(), n_positions=PLACES, n_embd=D, n_layer=N, n_head=H
    )
    theirs = shaken(peers.OpenAIGPTLMHeadModel(config))
    theirs.save_pretrained(place / "theirs")
    tokenizer.save(str(place / "theirs" / "tokenizer.json"))
    return theirs, tokenizer


def marian_folder(peers, place, special=("</s>", "<unk>", "<s>", "<pad>"), **more):
    folder = sentences(place / "pairs")
    lines = [line for file in folder.iterdir() for line in file.read_text().splitlines()]
    tokenizer = as_marians(lines, special=special)
    number = tokenizer.token_to_id
    config = peers.MarianConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=PLACES, d_model=D, encoder_layers=N,
        decoder_layers=N, encoder_ffn_dim=40, decoder_ffn_dim=40, encoder_attention_heads=H,
        decoder_attention_heads=H, activation_function="swish", scale_embedding=True, pad_token_id=number("<pad>"),
        eos_token_id=number("</s>"), decoder_start_token_id=number("<pad>"), forced_eos_token_id=number("</s>"), **more,
    )  # fmt: skip
    theirs = shaken(peers.MarianMTModel(config))
    theirs.save_pretrained(place / "theirs")
    tokenizer.save(str(place / "theirs" / "tokenizer.json"))
    return theirs, tokenizer


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def imported(folder, variant, *words):
    return done("import", "theirs", "--as", variant, "--name", "own", *words, folder=folder)


# ---------------------------------------------------------------------------------------------------------------- import


@pytest.mark.parametrize(("folder", "variant"), [(gpt2_folder, "gpt2"), (gpt_folder, "gpt")])
def test_a_language_model_says_the_same_of_the_same_text(peers, tmp_path, folder, variant):
    theirs, tokenizer = folder(peers, tmp_path)
    out = imported(tmp_path, variant)
    assert f"{N} layers of width {D}" in out, "sizes that are not the paper's are told"
    run = tmp_path / "runs" / "own"
    ours, encoder = model_of_run(run), reader_of_run(run)
    order = torch.tensor(encoder.text.given.order)
    for text in TEXTS if variant == "gpt2" else TEXTS[:1]:
        tokens = encoder.text.encode([text])[0]
        wanted = tokenizer.encode(text).ids
        assert [encoder.text.given.order[token] for token in tokens] == wanted
        assert not set(tokens) & {PAD, BEGIN, END}
        with torch.no_grad():
            same(ours(torch.tensor([tokens])), theirs(torch.tensor([wanted])).logits[..., order])
        if variant == "gpt2":
            assert encoder.text.decode(tokens) == text


def test_what_it_writes_is_what_they_write(peers, tmp_path):
    theirs, tokenizer = gpt2_folder(peers, tmp_path)
    imported(tmp_path, "gpt2")
    prompt = tokenizer.encode("the small").ids
    with torch.no_grad():
        found = theirs.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=0)[0].tolist()
    greedy = ("--temperature", "0", "--length", "12", "--json")
    said = done("generate", "runs/own", "--prompt", "the small", *greedy, folder=tmp_path)
    assert json.loads(said)["text"] == tokenizer.decode(found)
    assert json.loads(done("generate", "runs/own", *greedy, folder=tmp_path))["prompt"] == ""


@pytest.mark.parametrize("special", [("</s>", "<unk>", "<s>", "<pad>"), ("</s>", "<unk>", "<pad>")])
def test_a_translator_says_the_same_of_the_same_pair(peers, tmp_path, special):
    """Marian begins with its padding. Where no token is left to stand for padding, ours has a row more."""
    theirs, tokenizer = marian_folder(peers, tmp_path, special=special)
    imported(tmp_path, "transformer-marian")
    run = tmp_path / "runs" / "own"
    ours, encoder = model_of_run(run), reader_of_run(run)
    order = torch.tensor(encoder.source.given.order)
    rows = tokenizer.get_vocab_size()
    assert len(encoder.source) == rows + (len(special) == 3)
    known = (order < rows).nonzero()[:, 0]
    batch = next(encoder.encode(["the small ship waits", "red"], 2))[1]["source"]
    said = encoder.target.encode(["das kleine Schiff", "das"])
    end, start = tokenizer.token_to_id("</s>"), tokenizer.token_to_id("<pad>")
    for row, text in enumerate(("the small ship waits", "red")):
        source = torch.tensor([[*tokenizer.encode(text).ids, end]])
        target = torch.tensor([[start, *(int(order[t]) for t in said[row])]])
        with torch.no_grad():
            answer = ours(batch[row : row + 1], torch.tensor([[BEGIN, *said[row]]]))
            same(answer[..., known], theirs(input_ids=source, decoder_input_ids=target).logits[..., order[known]])
    never = [[int(order[token])] for token in (PAD, BEGIN) if int(order[token]) < rows]
    words = {"num_beams": 1, "max_new_tokens": 9, "bad_words_ids": never}
    found = theirs.generate(torch.tensor([[*tokenizer.encode("red").ids, end]]), **words)[:, :-1]
    assert torch.equal(order[greedy_of(ours, batch[1:, :2], 8)], found)
    out = done("translate", "runs/own", "red", "--json", "--beam", "1", folder=tmp_path)
    assert json.loads(out)["translations"][0].startswith(tokenizer.decode(found[0].tolist()[1:]).strip())


def test_vocab_and_merges_are_read_as_the_tokeniser_is(peers, tmp_path):
    for folder, variant in ((gpt2_folder, "gpt2"), (gpt_folder, "gpt")):
        place = tmp_path / variant
        folder(peers, place)
        whole = json.loads((place / "theirs" / "tokenizer.json").read_text())
        imported(place, variant)
        entries = whole["model"]["vocab"] | {token["content"]: token["id"] for token in whole["added_tokens"]}
        (place / "theirs" / "vocab.json").write_text(json.dumps(entries))
        merges = "".join(f"{one} {other}\n" for one, other in whole["model"]["merges"])
        (place / "theirs" / "merges.txt").write_text("#version: 0.2\n" + merges)
        (place / "theirs" / "tokenizer.json").unlink()
        done("import", "theirs", "--as", variant, "--name", "other", folder=place)
        one, other = (reader_of_run(place / "runs" / run).text for run in ("own", "other"))
        assert one.given == other.given
        assert one.encode(TEXTS) == other.encode(TEXTS)


def test_what_others_have_no_token_for_is_shown_and_names_of_special_tokens_are_text(tmp_path):
    known = as_marians(lines_of(tmp_path))
    known.save(str(tmp_path / "tokenizer.json"))
    tokenizer = tokenizer_in(tmp_path / "tokenizer.json")
    vocabulary = renumbered(tokenizer, known_parts(tokenizer, {}), known.get_vocab_size(), stream=False)
    assert vocabulary.given.places == tuple(known.token_to_id(name) for name in ("<pad>", "<unk>", "<s>", "</s>"))
    tokens = vocabulary.encode(["the ☃ house </s> <pad>"])[0]
    assert not set(tokens) & {PAD, BEGIN, END}
    assert vocabulary.decode([BEGIN, *vocabulary.encode(["the ☃ house"])[0], END, *tokens]) == "the ⁇ house"
    text = {"version": "1.0", "pre_tokenizer": {"type": "WhitespaceSplit"}, "added_tokens": []}
    words = {"type": "WordLevel", "vocab": {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3, "a": 4}, "unk_token": "<unk>"}
    (tmp_path / "words.json").write_text(json.dumps(text | {"model": words}))
    tokenizer = tokenizer_in(tmp_path / "words.json")
    vocabulary = renumbered(tokenizer, known_parts(tokenizer, {}), 5, stream=True)
    assert vocabulary.encode(["a <pad> <s> b", "", "a a"]) == [[4, 1, 1, 1], [], [4, 4]]
    assert restored(vocabulary)["model"] == words


def test_rows_without_a_token_take_the_special_places(peers, tmp_path):
    _, tokenizer = gpt2_folder(peers, tmp_path, rows=320)
    imported(tmp_path, "gpt2")
    given = reader_of_run(tmp_path / "runs" / "own").text.given
    assert given.places == (302, 301, 300, tokenizer.token_to_id(TEXT_END))
    assert (given.rows, given.ours) == (320, 320)


def test_a_file_in_several_parts_and_one_of_torch_are_read(peers, tmp_path):
    theirs, _ = gpt2_folder(peers, tmp_path)
    imported(tmp_path, "gpt2")
    (tmp_path / "theirs" / "model.safetensors").unlink()
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert len(list((tmp_path / "theirs").glob("model-*.safetensors"))) > 1
    done("import", "theirs", "--as", "gpt2", "--name", "parts", folder=tmp_path)
    for file in (tmp_path / "theirs").glob("model*"):
        file.unlink()
    torch.save(theirs.state_dict(), tmp_path / "theirs" / "pytorch_model.bin")
    done("import", "theirs", "--as", "gpt2", "--name", "pickled", folder=tmp_path)
    states = [model_of_run(tmp_path / "runs" / run).state_dict() for run in ("own", "parts", "pickled")]
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key])
        assert torch.equal(value, states[2][key])


def test_parts_keep_a_prefix_that_only_some_of_them_have_throughout(tmp_path):
    names = {"model.encoder.weight": "1.safetensors", "model.decoder.weight": "2.safetensors", "bias": "2.safetensors"}
    for part in ("1.safetensors", "2.safetensors"):
        save_file({name: torch.zeros(2) for name, file in names.items() if file == part}, tmp_path / part)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert checkpoint(tmp_path).keys() == names.keys()
    del names["bias"]
    save_file({"model.decoder.weight": torch.zeros(2)}, tmp_path / "2.safetensors")
    assert checkpoint(tmp_path).keys() == {"encoder.weight", "decoder.weight"}


# ------------------------------------------------------------------------------------------------------- other verbs


def test_it_is_scored_as_they_would_score_it(peers, tmp_path):
    """In windows of the model's places, each token after those before it, the first after the ending of a text."""
    theirs, tokenizer = gpt2_folder(peers, tmp_path)
    imported(tmp_path, "gpt2")
    text = "the small ship waits\n\n\n  the red house falls\nnaïve  日本\n" * 9
    (tmp_path / "new.txt").write_text(text, encoding="utf-8")
    got = json.loads(done("eval", "runs/own", "--data", "new.txt", "--json", folder=tmp_path))
    tokens = [tokenizer.token_to_id(TEXT_END), *tokenizer.encode(text).ids]
    loss = 0.0
    for start in range(0, len(tokens) - 1, PLACES):
        window = torch.tensor([tokens[start : start + PLACES + 1]])
        with torch.no_grad():
            loss += F.cross_entropy(theirs(window[:, :-1]).logits[0], window[0, 1:], reduction="sum").item()
    assert got["split"] == "all"
    assert got["loss"] == pytest.approx(loss / (len(tokens) - 1), rel=1e-5)
    assert got["bits_per_byte"] == pytest.approx(loss / math.log(2) / len(text.encode()), rel=1e-5)


def test_training_goes_on_with_its_tokens_and_sizes_and_can_be_resumed(peers, tmp_path):
    gpt2_folder(peers, tmp_path)
    imported(tmp_path, "gpt2")
    words = ("--from", "runs/own", "--epochs", "1", "--max-length", "16", *QUICK)
    out = done("train", "gpt2", "story.txt", *words, "--name", "tuned", folder=tmp_path)
    assert "everything learns at 0.1 of the rate" in out
    assert "300 tokens, the run's own" in out
    for verb in ("eval", "resume", "report"):
        said = typed(verb, "runs/own", folder=tmp_path)
        assert said.code == 2
        assert "no data of its own" in said.err
    said = typed("train", "gpt2-medium", "story.txt", *words, folder=tmp_path)
    assert said.code == 2
    assert "seminal train gpt2 story.txt --from runs/own" in said.err
    tuned = tmp_path / "runs" / "tuned"
    before, after = (reader_of_run(tmp_path / "runs" / run) for run in ("own", "tuned"))
    assert after == replace(before, longest=16)
    first, second = (model_of_run(tmp_path / "runs" / run).state_dict() for run in ("own", "tuned"))
    moved = [(second[key] - value).abs().max() for key, value in first.items()]
    assert 0 < max(moved) < 0.1, "it went on from the weights"
    assert "tuned" in done("resume", "runs/tuned", folder=tmp_path)
    assert "perplexity" in done("eval", tuned, folder=tmp_path)


def test_a_translator_is_trained_on_and_scored(peers, tmp_path):
    marian_folder(peers, tmp_path)
    imported(tmp_path, "transformer-marian")
    languages = ("--source", "en", "--target", "de")
    words = (*languages, "--from", "runs/own", "--epochs", "1", *QUICK)
    done("train", "transformer-marian", "pairs", *words, "--name", "tuned", folder=tmp_path)
    got = json.loads(done("eval", "runs/own", "--data", "pairs", *languages, "--json", folder=tmp_path))
    assert (got["split"], got["rows"]) == ("val", 15)
    assert "chrf" in got
    assert json.loads(done("eval", "runs/tuned", "--data", "pairs/val.en", "--json", folder=tmp_path))["rows"] == 15


# ---------------------------------------------------------------------------------------------------------------- export


def loaded(kind, folder):
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    return model.eval()


@pytest.mark.parametrize(("folder", "variant"), [(gpt2_folder, "gpt2"), (gpt_folder, "gpt")])
def test_what_came_in_goes_out_as_it_was(peers, tmp_path, folder, variant):
    theirs, _ = folder(peers, tmp_path)
    imported(tmp_path, variant)
    assert "from_pretrained" in done("export", "runs/own", "--to", "huggingface", "--out", "back", folder=tmp_path)
    back = loaded(peers.AutoModelForCausalLM, tmp_path / "back")
    assert theirs.state_dict().keys() == back.state_dict().keys()
    assert all(torch.equal(value, back.state_dict()[key]) for key, value in theirs.state_dict().items())
    files = [tmp_path / place / "tokenizer.json" for place in ("theirs", "back")]
    one, other = (json.loads(file.read_text()) for file in files)
    numbers = [Tokenizer.from_file(str(file)).get_vocab() for file in files]
    assert numbers[0] == numbers[1]
    assert {key: value for key, value in one.items() if key != "model"} == {
        k: v for k, v in other.items() if k != "model"
    }
    assert theirs.config.eos_token_id == back.config.eos_token_id
    again = typed("export", "runs/own", "--to", "huggingface", "--out", "back", folder=tmp_path)
    assert again.code == 2
    assert "nothing is written over" in again.err


@pytest.mark.parametrize("special", [("</s>", "<unk>", "<s>", "<pad>"), ("</s>", "<unk>", "<pad>")])
def test_a_translator_goes_out_as_it_was(peers, tmp_path, special):
    theirs, _ = marian_folder(peers, tmp_path, special=special)
    imported(tmp_path, "transformer-marian")
    done("export", "runs/own", "--to", "marian", "--out", "back", folder=tmp_path)
    back = loaded(peers.MarianMTModel, tmp_path / "back")
    state, others = theirs.state_dict(), back.state_dict()
    assert state.keys() == others.keys()
    for key in state:
        if "embed_positions" not in key:  # ours are longer: sinusoids have no end
            assert torch.equal(state[key], others[key]), key
    for name in ("eos_token_id", "decoder_start_token_id"):
        assert vars(theirs.config).get(name, None) == vars(back.config).get(name, None)


@pytest.mark.parametrize("tokens", ["bpe", "characters", "words"])
def test_a_model_that_was_trained_here_is_read_by_them(peers, tmp_path, tokens):
    ask = DataAsk(str(language(tmp_path)), tokens=tokens, vocab_size=280 if tokens == "bpe" else None, max_length=48)
    begun("gpt", ask, RecipeAsk(), RunAsk(str(tmp_path / "runs"), "run"))
    done("export", "runs/run", "--to", "huggingface", "--out", "out", folder=tmp_path)
    run = tmp_path / "runs" / "run"
    ours, encoder = model_of_run(run), reader_of_run(run)
    theirs = loaded(peers.AutoModelForCausalLM, tmp_path / "out")
    tokenizer = peers.AutoTokenizer.from_pretrained(tmp_path / "out")
    text = "the small ship waits\nthe red unseen\n"
    read = encoder.text.encode([text])[0]
    assert tokenizer(text)["input_ids"] == read
    with torch.no_grad():
        same(theirs(torch.tensor([read])).logits, ours(torch.tensor([read])))
    if tokens != "words":
        plain = "the small ship waits\n"
        assert tokenizer.decode(encoder.text.encode([plain])[0]) == plain
    done("import", "out", "--as", "gpt", "--name", "back", folder=tmp_path)
    again = tmp_path / "runs" / "back"
    assert reader_of_run(again).text.encode([text]) == [read]
    with torch.no_grad():
        same(model_of_run(again)(torch.tensor([read])), ours(torch.tensor([read])))


@pytest.fixture(scope="module")
def translators(tmp_path_factory):
    """Small Transformers of three forms, each with a vocabulary of its own data."""
    place = tmp_path_factory.mktemp("translators")
    sentences(place / "pairs")
    (place / "small.py").write_text(SMALL)
    ask = DataAsk(str(place / "pairs"), source="en", target="de", vocab_size=60)
    for variant, name in (("transformer-marian", "marian"), ("transformer-torch", "torch"), ("transformer", "paper")):
        begun(variant, ask, RecipeAsk(recipe=str(place / "small.py")), RunAsk(str(place / "runs"), name))
    return place


SMALL = f"""
from dataclasses import replace
from seminal.recipes import transformer

def recipe(variant, spec):
    whole = transformer.modern(variant, spec)
    return replace(whole, model=replace(whole.model, layers={N}, width={D}, inner=40, heads={H}, key={D // H}))
"""


def test_a_translator_that_was_trained_here_is_marians(peers, translators, tmp_path):
    done("export", translators / "runs" / "marian", "--to", "marian", "--out", "out", folder=tmp_path)
    ours, encoder = model_of_run(translators / "runs" / "marian"), reader_of_run(translators / "runs" / "marian")
    theirs = loaded(peers.MarianMTModel, tmp_path / "out")
    tokenizer = peers.AutoTokenizer.from_pretrained(tmp_path / "out")
    source = next(encoder.encode(["the small ship waits", "red"], 2))[1]["source"]
    read = tokenizer(["the small ship waits", "red"], return_tensors="pt", padding=True)
    assert torch.equal(read["input_ids"], source)
    target = torch.tensor([[BEGIN, *encoder.target.encode(["das Schiff"])[0]]] * 2)
    with torch.no_grad():
        said = theirs(input_ids=source, attention_mask=read["attention_mask"], decoder_input_ids=target).logits
        same(said, ours(source, target))
        greedy = theirs.generate(**read, num_beams=1, max_new_tokens=9)[:, :-1]  # theirs ends the last place itself
    assert torch.equal(greedy_of(ours, source, 8), greedy)
    done("import", "out", "--as", "transformer-marian", "--name", "back", folder=tmp_path)
    with torch.no_grad():
        same(model_of_run(tmp_path / "runs" / "back")(source, target), ours(source, target))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_a_translator_that_was_trained_here_is_torchs(translators, tmp_path):
    done("export", translators / "runs" / "torch", "--to", "torch", "--out", "out", folder=tmp_path)
    run = translators / "runs" / "torch"
    ours, encoder = model_of_run(run), reader_of_run(run)
    state = load_file(tmp_path / "out" / "model.safetensors")
    theirs = nn.Transformer(**json.loads((tmp_path / "out" / "config.json").read_text()), batch_first=True).eval()
    table = state.pop("embedding.weight")
    theirs.load_state_dict(state, strict=True)
    source = next(encoder.encode(["the small ship waits"], 1))[1]["source"]
    target = torch.tensor([[BEGIN, *encoder.target.encode(["das Schiff"])[0]]])
    waves = ours.encoder.embedding.waves
    read, say = (F.embedding(x, table) * D**0.5 + waves[: x.shape[1]] for x in (source, target))
    future = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
    with torch.no_grad():
        same(theirs(read, say, tgt_mask=future, tgt_is_causal=True) @ table.T, ours(source, target))
    done("import", "out", "--as", "transformer-torch", "--name", "back", folder=tmp_path)
    with torch.no_grad():
        same(model_of_run(tmp_path / "runs" / "back")(source, target), ours(source, target))


# ------------------------------------------------------------------------------------------------------------- mistakes


def test_a_file_of_weights_alone_needs_its_tokeniser(peers, tmp_path):
    """And then serves, where the model has its usual sizes; here they are others, which only config.json tells."""
    gpt2_folder(peers, tmp_path)
    said = typed("import", "theirs/model.safetensors", "--as", "gpt2", folder=tmp_path)
    assert said.code == 2
    assert "--tokenizer" in said.err
    words = ("--as", "gpt2", "--tokenizer", "theirs/tokenizer.json")
    said = typed("import", "theirs/model.safetensors", *words, folder=tmp_path)
    assert said.code == 2
    assert "config.json" in said.err


def test_own_weights_and_their_tokeniser_are_a_model_again(translators, tmp_path):
    """The sizes that a model is known for are those of the paper: of these a file alone will do."""
    encoder = reader_of_run(translators / "runs" / "torch")
    config = replace(transformer.VARIANTS["transformer-n2"], vocabulary=len(encoder.source))
    torch.manual_seed(0)
    ours = transformer.Transformer(config).eval()
    save_file(ours.state_dict(), tmp_path / "alone.safetensors")
    (tmp_path / "tokens.json").write_text(encoder.source.json)
    words = ("--as", "transformer-n2", "--tokenizer", "tokens.json", "--name", "back")
    assert "seminal's names" in done("import", "alone.safetensors", *words, folder=tmp_path)
    back = model_of_run(tmp_path / "runs" / "back").state_dict()
    assert all(torch.equal(back[key], value) for key, value in ours.state_dict().items())


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({"activation_function": "relu"}, "--as gpt2", "`activation_function` is relu"),
        ({"n_inner": 7}, "--as gpt2", "`n_inner` is 7"),
        ({"n_layer": "two"}, "--as gpt2", "`n_layer`"),
        ({"n_layer": 3}, "--as gpt2", "the file lacks transformer.h.2"),
        ({"eos_token_id": 999}, "--as gpt2", "`eos_token_id` is 999"),
        ({}, "--as gpt", "`model_type` is gpt2"),
        ({}, "--as transformer-marian", "`model_type` is gpt2"),
        ({}, "--as lstm", "transformer, bert, gpt, gpt2"),
        ({}, "--as gpt2 --from marian", "no names of `marian`"),
        ({}, "--as gpt2 --mean 0.5", "--mean belongs to pictures"),
        ({}, "--as resnet18 --tokenizer theirs/tokenizer.json", "--tokenizer belongs to text"),
        ({}, "--as gpt2 --tokenizer nothing.json", "nothing.json"),
    ],
)
def test_what_cannot_be_taken_in_is_told(peers, tmp_path, change, words, said):
    gpt2_folder(peers, tmp_path)
    file = tmp_path / "theirs" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    got = typed("import", "theirs", *words.split(), folder=tmp_path)
    assert got.code == 2
    assert said in got.err
    assert not (tmp_path / "runs").exists()


def test_a_bias_of_the_logits_is_refused_with_its_reason(peers, tmp_path):
    theirs, _ = marian_folder(peers, tmp_path)
    theirs.final_logits_bias += 1
    theirs.save_pretrained(tmp_path / "theirs")
    said = typed("import", "theirs", "--as", "transformer-marian", folder=tmp_path)
    assert said.code == 2
    assert "a bias of the logits" in said.err


def test_sentencepiece_is_out_of_reach(peers, tmp_path):
    marian_folder(peers, tmp_path)
    (tmp_path / "theirs" / "tokenizer.json").unlink()
    (tmp_path / "theirs" / "source.spm").write_bytes(b"\n\x0e")
    said = typed("import", "theirs", "--as", "transformer-marian", folder=tmp_path)
    assert said.code == 2
    assert "SentencePiece" in said.err
    assert "--tokenizer" in said.err


def test_a_paper_network_has_no_names_elsewhere(translators, tmp_path):
    for to in ("marian", "huggingface"):
        said = typed("export", translators / "runs" / "paper", "--to", to, "--out", "out", folder=tmp_path)
        assert said.code == 2
        assert "transformer-marian" in said.err
        assert "--to safetensors." in said.err
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------- other data for a run's own

LABELS = {"fine": "good", "lovely": "good", "awful": "bad", "dull": "bad"}
NAMED = ("Ann", "Bob", "Eve", "Tom", "Ida", "Max") * 2


def test_other_texts_are_scored_with_the_runs_words_and_classes(tmp_path):
    """A file as a whole; the classes are numbered as in training, whichever of them the file has."""
    rows = [f"a {word} film number {i}\t{label}" for i in range(20) for word, label in LABELS.items()]
    (tmp_path / "films.tsv").write_text("".join(f"{row}\n" for row in rows))
    done("train", "bag", "films.tsv", "--epochs", "30", "--lr", "0.05", "--name", "run", *QUICK, folder=tmp_path)
    (tmp_path / "new.tsv").write_text("this strange film is awful\tbad\nawful , awful\tbad\nawful film\tbad\n")
    got = json.loads(done("eval", "runs/run", "--data", "new.tsv", "--json", folder=tmp_path))
    assert (got["split"], got["rows"], got["top1"]) == ("all", 3, 1.0)
    lines = (tmp_path / "runs" / "run" / "predictions-all-new.csv").read_text().splitlines()
    assert lines[1].startswith("new.tsv:")
    assert ",bad,bad," in lines[1]
    (tmp_path / "mixed.tsv").write_text("a fine film\tgood\na film\tmiddling\n")
    said = typed("eval", "runs/run", "--data", "mixed.tsv", folder=tmp_path)
    assert said.code == 2
    assert "middling" in said.err
    (tmp_path / "tags.conll").write_text("a O\nfilm O\n\n")
    said = typed("eval", "runs/run", "--data", "tags.conll", folder=tmp_path)
    assert said.code == 2
    assert "a label for each word" in said.err


def test_training_on_text_goes_on_with_the_runs_words_and_a_new_head(tmp_path):
    rows = [f"a {word} film number {i}\t{label}" for i in range(20) for word, label in LABELS.items()]
    (tmp_path / "films.tsv").write_text("".join(f"{row}\n" for row in rows))
    done("train", "bag", "films.tsv", "--epochs", "1", "--name", "run", *QUICK, folder=tmp_path)
    (tmp_path / "books.tsv").write_text("".join(f"{row}y\n" for row in rows).replace("film", "strange book"))
    words = ("--epochs", "1", "--freeze", "--from", "runs/run", "--name", "tuned", *QUICK)
    assert "a new head of 2 outputs" in done("train", "bag", "books.tsv", *words, folder=tmp_path)
    first, second = (model_of_run(tmp_path / "runs" / run).state_dict() for run in ("run", "tuned"))
    assert reader_of_run(tmp_path / "runs" / "tuned") == reader_of_run(tmp_path / "runs" / "run")
    same_still = [key for key, value in first.items() if torch.equal(value, second[key])]
    assert same_still
    assert len(same_still) < len(first)


def test_other_tags_are_scored_with_the_runs_words_and_labels(tmp_path):
    people = "".join(f"{name} B-PER\nsleeps O\n\n{name} B-PER\nwaits O\nin O\nRome B-LOC\n\n" for name in NAMED)
    (tmp_path / "people.conll").write_text(people)
    done("train", "bilstm", "people.conll", "--epochs", "2", "--name", "run", *QUICK, folder=tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "test.conll").write_text("Ann B-PER\nwaits O\n\n")
    got = json.loads(done("eval", "runs/run", "--data", "folder", "--json", folder=tmp_path))
    assert (got["split"], got["rows"]) == ("test", 1)
    (tmp_path / "new.conll").write_text("Ann B-PER\nwaits O\n\nIBM B-ORG\nwaits O\n")
    said = typed("eval", "runs/run", "--data", "new.conll", folder=tmp_path)
    assert said.code == 2
    assert "line 4" in said.err
    assert "`B-ORG`" in said.err


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
def test_a_text_is_cut_where_the_tokeniser_does_not_notice(tmp_path, kind):
    """One over bytes may have tokens of several line ends; one that puts a sign before each text may not be cut at all."""
    text = "a  b\n\n\n  c d \n e\nf\n \n\tg " + "long " * 20_000 + "\n" * 5 + "end"
    (tmp_path / "new.txt").write_text(text)
    own = over_bytes([text, "x\n\n\ny"], 330) if kind == "bytes" else as_marians([text, "x\n\ny"], 60)
    own.save(str(tmp_path / "tokenizer.json"))
    tokenizer = tokenizer_in(tmp_path / "tokenizer.json")
    vocabulary = renumbered(tokenizer, known_parts(tokenizer, {}), own.get_vocab_size(), stream=True)
    known = Known(stream.StreamEncoder(vocabulary, 20, (END,)), whole=True)
    source = stream.read(tmp_path / "new.txt", Reading("stream"), stream.StreamAsk(known=known))
    flat = source.parts["all"].tokens.flat
    assert flat[0] == END
    wanted = own.encode(f"{text}\n", add_special_tokens=False).ids
    assert [vocabulary.given.order[token] for token in flat[1:]] == wanted
    assert Tokenizer.from_str(json.dumps(restored(vocabulary))).get_vocab() == own.get_vocab()
