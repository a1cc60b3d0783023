"""A dual encoder's text tower as the class that Stable Diffusion pipelines take."""

from transformers import CLIPTextConfig, CLIPTextModel

from generation.encoders.dual import OpenClipEncoder


def clip_text_model(encoder: OpenClipEncoder) -> CLIPTextModel:
    """The dual encoder's text tower as the class that Stable Diffusion's pipelines take, weights carried over exactly.

    So ``P_gen`` and the dual encoder's text projection share one space (eq. 13 needs that).
    """
    text = encoder.config["model_cfg"]["text_cfg"]
    config = CLIPTextConfig(
        vocab_size=text["vocab_size"],
        hidden_size=text["width"],
        intermediate_size=text["width"] * 4,
        num_hidden_layers=text["layers"],
        num_attention_heads=text["heads"],
        hidden_act="gelu",
        max_position_embeddings=text["context_length"],
        projection_dim=encoder.dim,
        bos_token_id=0,
        eos_token_id=text["eos_id"],
        pad_token_id=text["eos_id"],
    )
    model = CLIPTextModel(config)
    tower = encoder.model.state_dict()
    names = {
        "embeddings.token_embedding.weight": tower["token_embedding.weight"],
        "embeddings.position_embedding.weight": tower["positional_embedding"],
        "final_layer_norm.weight": tower["ln_final.weight"],
        "final_layer_norm.bias": tower["ln_final.bias"],
    }
    for layer in range(text["layers"]):
        block, ours = f"transformer.resblocks.{layer}.", f"encoder.layers.{layer}."
        for kind in ("weight", "bias"):
            joint = tower[f"{block}attn.in_proj_{kind}"].chunk(3)
            names |= {f"{ours}self_attn.{p}_proj.{kind}": part for p, part in zip("qkv", joint, strict=True)}
            names[f"{ours}self_attn.out_proj.{kind}"] = tower[f"{block}attn.out_proj.{kind}"]
            names[f"{ours}layer_norm1.{kind}"] = tower[f"{block}ln_1.{kind}"]
            names[f"{ours}layer_norm2.{kind}"] = tower[f"{block}ln_2.{kind}"]
            names[f"{ours}mlp.fc1.{kind}"] = tower[f"{block}mlp.c_fc.{kind}"]
            names[f"{ours}mlp.fc2.{kind}"] = tower[f"{block}mlp.c_proj.{kind}"]
    prefix = "text_model." if any(name.startswith("text_model.") for name in model.state_dict()) else ""
    model.load_state_dict({prefix + name: value.clone() for name, value in names.items()})
    return model.eval().requires_grad_(False)
