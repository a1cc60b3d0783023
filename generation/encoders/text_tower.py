"""A dual encoder's text tower as the class that Stable Diffusion pipelines take."""

from transformers import CLIPTextConfig, CLIPTextModel

from generation.encoders.dual import OpenClipEncoder


def clip_text_model(encoder: OpenClipEncoder) -> CLIPTextModel:
    """Convert the dual encoder's text tower to the class that Stable Diffusion's pipelines take, weights unchanged.

    ``P_gen`` and the dual encoder's text projection then share one space (eq. 13 needs that).
    """
    text = encoder.config["model_cfg"]["text_cfg"]
    config = CLIPTextConfig(
        vocab_size=text["vocab_size"],
        hidden_size=text["width"],
        intermediate_size=text["width"] * 4,
        num_hidden_layers=text["layers"],
        num_attention_heads=text["heads"],
        hidden_act="gelu",  # open_clip's; transformers' default is OpenAI's quick_gelu
        max_position_embeddings=text["context_length"],
        projection_dim=encoder.dim,
        bos_token_id=0,
        # transformers pools the state of the first end token, which also pads; an id of 2 would mean the largest id.
        eos_token_id=text["eos_id"],
        pad_token_id=text["eos_id"],
    )
    model = CLIPTextModel(config)
    tower = encoder.model.state_dict()
    weights = {
        "embeddings.token_embedding.weight": tower["token_embedding.weight"],
        "embeddings.position_embedding.weight": tower["positional_embedding"],
        "final_layer_norm.weight": tower["ln_final.weight"],
        "final_layer_norm.bias": tower["ln_final.bias"],
    }
    for layer in range(text["layers"]):
        source, target = f"transformer.resblocks.{layer}.", f"encoder.layers.{layer}."
        for kind in ("weight", "bias"):
            # open_clip has queries, keys and values in one matrix, transformers in three.
            qkv = tower[f"{source}attn.in_proj_{kind}"].chunk(3)
            weights |= {f"{target}self_attn.{name}_proj.{kind}": value for name, value in zip("qkv", qkv, strict=True)}
            weights[f"{target}self_attn.out_proj.{kind}"] = tower[f"{source}attn.out_proj.{kind}"]
            weights[f"{target}layer_norm1.{kind}"] = tower[f"{source}ln_1.{kind}"]
            weights[f"{target}layer_norm2.{kind}"] = tower[f"{source}ln_2.{kind}"]
            weights[f"{target}mlp.fc1.{kind}"] = tower[f"{source}mlp.c_fc.{kind}"]
            weights[f"{target}mlp.fc2.{kind}"] = tower[f"{source}mlp.c_proj.{kind}"]
    # transformers 5 dropped the prefix.
    prefix = "text_model." if any(name.startswith("text_model.") for name in model.state_dict()) else ""
    model.load_state_dict({prefix + name: value.clone() for name, value in weights.items()})
    return model.eval().requires_grad_(False)
