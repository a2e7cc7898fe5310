"""Fields of model configs that change neither parameters, nor KV cache, nor kinds of layer.

Everything that is not named here, is set, and no reader has read, may matter: it is named to the user, and the model
is refused. So a name belongs here only where no value of it changes a shape, a count or what is cached. Pure data.
"""

from __future__ import annotations

import re
from functools import cache

#: Whole names, or beginnings and endings of names, by what they are about.
_NAMES = (
    # the file itself, libraries, number formats (read elsewhere), other users of the same file
    r"""
    _.* architectures? auto_map model_type name_or_path transformers.* unsloth.* .*version license languages?
    (torch_)?dtype quantization(_config)? compression_config quant_.* torchscript bf16 fp16 fp32
    use_(bf16|fp16|fp32|bfloat16) .*_(in_)?(fp32|bf16|float32|full_precision) fp32_.* (reorder_and_)?upcast.*
    full_precision.* expert_dtype .*mamba.*dtype mamba_ssm_.*cache.* router_dtype tokenizer.* processor_class
    base_model.* model_name description custom_pipelines pipeline.*
    """,
    # implementation of kernels
    r"""
    attn_implementation.* attn_impl.* use_flash.* .*flash_attn.* use_(mamba_)?kernels? use_mambapy
    use_associative_scan use_mem_eff_path use_fused.* fused_.* fuse_.* use_cache.* cache_implementation use_triton.*
    use_cache_.* use_torch.* tp_size ep_size pretraining_tp tensor_parallel.* model_parallel.* slow_but_exact onnx.*
    (chunkwise|sequence|step)_kernel max_inference_chunksize
    """,
    # tokens and generation
    r"""
    .*token(s|_ids?|_index|_indices)? (bos|eos|pad|sep|unk|mask|cls|eod|eoi|boi|eoa|boa|im_.*)_?ids? pad_idx
    bad_words_ids temperature top_[kp] do_sample max_(new_)?(length|tokens) min_(length|tokens) num_beams
    num_beam_groups num_return_sequences repetition_penalty length_penalty diversity_penalty .*no_repeat_ngram_size
    early_stopping typical_p remove_invalid_values exponential_decay.* chat_.* return_dict.*
    output_(attentions|hidden_states|router_logits|scores|past) generation_config keys_to_ignore.*
    task_specific_params problem_type finetuning_task prefix suffix id2label label2id num_labels is_decoder
    is_encoder_decoder add_cross_attention tie_encoder_decoder pruned_heads chunk_size_feed_forward summary_.*
    num_logits_to_keep logits_to_keep prefix_lm vocab_list classifier.* user_.* assistant_.* system_.* sampling_.*
    use_bidirectional.* (is_)?causal stop_.*
    """,
    # training
    r"""
    .*drop.* .*_pdrop layerdrop .*loss.* .*_coeff? .*aux_.* .*jitter.* .*label.* gradient.* initiali[sz]er.*
    .*init(ialization)?(_.*)? init_.* .*_std rescale_.* seq_aux train.* .*freez.* lr_.* seed hidden_dropout.*
    num_train.* weight_decay time_step_(m|f|l|s|i).* time_step_rank linear_(a_log|dt)_.* dt_(m|init|s|f|l).*
    a_init_range mup_.*
    use_mup max_grad.* save_.* expert_capacity.*
    """,
    # positions
    r"""
    rope.* no_rope.* use_rope nope_.* rotary.* theta .*rope_(theta|scaling|parameters|interleave|freq.*)
    partial_rotary.* yarn.* ntk.* mrope.* original_max_position.* max_position_.* position_.*
    .*position_embeddings?(_type)? alibi.* use_alibi use_logn.* logn.* use_dynamic_ntk xpos use_pos_enc max_seq_len.*
    max_sequence_length seq_len.* model_max_length n_ctx context_length max_context.* initial_context_length
    use_long_context use_mem_rope rotary_emb.* interleaved_rope long_factor short_factor
    """,
    # scales and arithmetic inside a layer
    r"""
    original_rope attn_rotary.* use_rope_layers offset_alibi rope_ratio .*fusion skip_bias.* apply_query_key_layer.*
    post_layer_norm mla_use_nope use_rotary_pos_emb xdrope.* .*_xdrope route_norm compression_type
    .*(_eps|epsilon)\w*
    (embedding|logits?|residual|attention|attention_in|attention_out|lm_head|key|ssm|ssm_in|ssm_out|output|scale)_multipliers?
    mlp_multipliers
    (logits?|residual|attention|attn|embedding|router|routed|moe_routed|moe_router|swiglu|softmax)_scal\w*(_factor)?
    logits?_(scale|cap|soft_?cap.*) .*soft_?cap(ping)? .*_(clip|clamp) clip_qkv clamp_.* query_pre_attn_scalar
    scale_(emb.*|depth|attn.*) dim_model_base attn_temperature.* floor_scale attn_scale attention_value_scale
    qk_(scale_factor|clip.*) scale_attn.* apply_residual_connection.* embed_scale emb_scale route_scale
    (full_attn|linear_attn|mlp)_(alpha|beta)_factor (activation_)?swiglu_(limit|alpha|clamp).* use_scaled.* postnorm
    norm_(type|reduction.*|topk.*|cast.*) qk_norm_type rms_norm rmsnorm.* layernorm_.* use_rms_?norm normali[sz]\w*
    zero_centered.* (hidden|mlp|mamba|ffn|hidden_mamba|mamba_hidden)_(act|activation) activation(_function|_type)? act
    hidden_act_.* mamba_norm_before_gate norm_before_gate parallel_attn use_parallel_residual mamba_use_mlp
    activation_sparsity.*
    """,
    # leftovers of other tasks and of training code
    r"""
    .*_ids? anyres_.* dense_list class_num num_media_embeds org_vocab_size pool_type use_mixed_mlp_moe pre_seq_len
    prefix_projection calc_logits.* use_recompute.* shared_moe_mode using_split_qkv.* group_limited.* emb_.*prob
    image_patch.* add_classification.* unpadded_vocab_size
    """,
    # routing of tokens to experts, without tables of their own size
    r"""
    scoring_func score_func(tion)? topk_method n_group topk_group num_expert_group
    router_(bias_|logit|score|act|jitter|z_|aux|type|cast|ignore|scal).* moe_router_.* moe_renorm.*
    moe_(gate|norm)_(type|act|min).* use_routing_bias (use|enable)_(expert|moe_router)_bias use_expert_bias
    moe_apply_.* moe_use_aux.* moe_.*(score|stat|capacity).* expert_selection_fn gate_(type|func) moe_implementation
    need_fp32_gate moe_shared_expert_overlap moe_layer_.*(dtype) use_grouped_topk norm_expert_weight renormalize
    router_bias
    enable_moe_fp32_combine num_expert_groups num_limited_groups use_grouped.* use_moe_router_bias moe_gate
    moe_random.* moe_drop.* load_balance.* moe_norm_.* group_expert.* use_moe
    """,
    # layers that only draft tokens, and towers
    r"""
    (use_)?mtp_.* use_mtp .*_mtp_.*
    (image|video|vision|visual|audio|speech|mm|projector|multi_?modal|tts|talker|code2wav)_.* spatial_merge_size
    temporal_.* enable_(audio_output|talker) boi.* eoi.* vit_.* downsample_ratio select_layer template ps_version
    dynamic_image_size use_thumbnail (min|max)_dynamic_patch force_image_size tile_tag global_view_pos
    candidate_resolutions ignore_index use_(image|vision)_.* (min|max)_pixels deepstack.*
    """,
)


@cache
def _harmless() -> re.Pattern[str]:
    """All of them as one pattern, which takes long to compile and is needed for a model's own file alone."""
    return re.compile("|".join(f"(?:{n})" for names in _NAMES for n in names.split()), re.IGNORECASE)


_TOWER = re.compile(
    r"(vision|visual|vit|audio|speech|image|video|talker|code2wav|token2wav|projector|sound|vq|perceiver|resampler|sam|aligner|"
    r"tts|codec|backbone|embd_layer|img_processor|clip|siglip|embedding_model|vae|mm_)\w*(config|cfg|model)?|visual",
    re.IGNORECASE,
)


#: Fields that change nothing at the value that all published configs but a few have.
_USUAL: dict[str, tuple[object, ...]] = {
    "attn_type": ("multihead_attention", "grouped_query_attention"),
    "do_layer_norm_before": (True,),
    "enable_bias": (True,),
    "layer_norm_elementwise_affine": (True,),
    "embedding_fraction": (1, 1.0),
    "learned_pos_emb": (True,),
    "no_bias": (True,),
    "use_conv_bias": (True,),
    "mlp_type": ("swiglu", "silu", "default"),
    "num_ln_in_parallel_attn": (1, 2),
    "use_gqa": (True,),
    "order_of_interleaved_layers": ("local_attn_first",),
    "use_embedding_sharing": (True,),
    "use_gated_activation": (True,),
    "use_parallel_block": (True,),
    "block_use_swiglu": (True,),
    "gated_linear_unit": (True,),
    "use_shared_mlp_adapter": (True,),
    "att_impl_type": ("GQA",),
    "moe_every_n_layer": (1,),
    "moe_every_n_layers": (1,),
    "compression_ratio": (1.0,),
    "full_attn_mod": (1,),
    "interpolate_factor": (1,),
    "moe_layer_freq": (1,),
    "decoder_sparse_step": (1,),
}


def is_usual(name: str, value: object) -> bool:
    """Whether a field has the value at which it changes nothing."""
    return any(value is usual or (value == usual and type(value) is type(usual)) for usual in _USUAL.get(name, ()))


def is_harmless(name: str) -> bool:
    """Whether no value of the field changes parameters, KV cache or kinds of layer."""
    return len(name) < 120 and _harmless().fullmatch(name) is not None


def is_tower(name: str) -> bool:
    """Whether an object of that name describes another model beside the language model."""
    return len(name) < 120 and _TOWER.fullmatch(name) is not None
