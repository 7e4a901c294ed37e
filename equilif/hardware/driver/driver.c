#include "equilif.h"

#define NUM_FIELDS (offsetof(struct equilif_network, program) / sizeof(uint32_t))
#define MAX_LANES 32u
#define PREAMBLE 4u /* words before the fields in an image: magic, layout, bytes, CRC-32 */

/* Word `i` of a block that is written. */
typedef uint32_t source(const void *data, uint32_t i);

static uint32_t get(const struct equilif_engine *e, uint32_t offset)
{
    return equilif_read32(e->base + offset);
}

static void put(const struct equilif_engine *e, uint32_t offset, uint32_t word)
{
    equilif_write32(e->base + offset, word);
}

static void seek(const struct equilif_engine *e, uint32_t region, uint32_t first)
{
    put(e, EQUILIF_REGION, region);
    put(e, EQUILIF_ADDRESS, first);
}

/* A lost or changed write of REGION, ADDRESS or DATA shows here. */
static int is_at(const struct equilif_engine *e, uint32_t region, uint32_t address)
{
    return get(e, EQUILIF_REGION) == region && get(e, EQUILIF_ADDRESS) == address;
}

/* After an error the engine may hold anything: the driver does not use it before the next load. */
static int fail(struct equilif_engine *e, int result)
{
    e->network = NULL;
    return result;
}

/* STATUS without FAULT, which belongs to the stream; an error for a word that no engine gives. */
static int read_status(const struct equilif_engine *e, uint32_t *status)
{
    const uint32_t done = EQUILIF_STATUS_DONE_MASK, busy = EQUILIF_STATUS_BUSY_MASK;

    *status = get(e, EQUILIF_STATUS) & ~EQUILIF_STATUS_FAULT_MASK;
    return *status & ~(done | busy | EQUILIF_STATUS_LOADED_MASK) || (*status & done && *status & busy)
               ? EQUILIF_ERROR_BUS
               : EQUILIF_OK;
}

/* DATA, LOAD and CONTROL are bus errors during a run.  A bus that has died does not pass: no word is both
 * STATUS and that of the owner. */
static int ready(struct equilif_engine *e)
{
    uint32_t status;

    if (!e->network)
        return EQUILIF_ERROR_NO_PROGRAM;
    if (read_status(e, &status) != EQUILIF_OK)
        return fail(e, EQUILIF_ERROR_BUS);
    if (status & EQUILIF_STATUS_BUSY_MASK)
        return EQUILIF_ERROR_BUSY;
    if (!(status & EQUILIF_STATUS_LOADED_MASK))
        return fail(e, EQUILIF_ERROR_NO_PROGRAM);
    seek(e, EQUILIF_REGION_PROGRAM, 0);
    return get(e, EQUILIF_DATA) == e->owner ? EQUILIF_OK : fail(e, EQUILIF_ERROR_OWNER);
}

/* The end of every function: results count only if the bus still works. */
static int finish(struct equilif_engine *e, int result)
{
    if (result == EQUILIF_OK)
        result = ready(e);
    return result == EQUILIF_OK ? EQUILIF_OK : fail(e, result);
}

static uint32_t of_words(const void *data, uint32_t i)
{
    return ((const uint32_t *)data)[i];
}

static uint32_t of_weights(const void *data, uint32_t i)
{
    return (uint32_t)((const int16_t *)data)[i];
}

/* A value has two bytes, for the phases at +beta and at -beta; both are the same for inputs and targets. */
static uint32_t of_values(const void *data, uint32_t i)
{
    return ((const uint8_t *)data)[i] * 0x101u;
}

static uint32_t of_zeros(const void *data, uint32_t i)
{
    (void)data;
    (void)i;
    return 0;
}

static uint32_t of_label(const void *data, uint32_t i)
{
    return i == *(const uint32_t *)data ? 0xFFFFu : 0u;
}

static uint32_t of_tokens(const void *data, uint32_t i)
{
    return i < *(const uint32_t *)data ? 0xFFFFu : 0u;
}

/* Writes an element in the first pass over a block and compares it in the second. */
static int element(const struct equilif_engine *e, int pass, uint32_t word)
{
    if (pass)
        return get(e, EQUILIF_DATA) == word;
    put(e, EQUILIF_DATA, word);
    return 1;
}

static int fill(const struct equilif_engine *e, uint32_t region, uint32_t first, uint32_t num, source *word,
                const void *data)
{
    uint32_t i;
    int pass;

    for (pass = 0; pass < 2; pass++) {
        seek(e, region, first);
        for (i = 0; i < num; i++)
            if (!element(e, pass, word(data, i)))
                return EQUILIF_ERROR_BUS;
        if (!pass && !is_at(e, region, first + num))
            return EQUILIF_ERROR_BUS;
    }
    return EQUILIF_OK;
}

/* Reads elements in the first pass and compares them in the second. */
static int fetch(const struct equilif_engine *e, uint32_t region, uint32_t first, uint32_t num,
                 uint16_t *data)
{
    uint32_t i;
    uint16_t word;
    int pass;

    for (pass = 0; pass < 2; pass++) {
        seek(e, region, first);
        for (i = 0; i < num; i++) {
            word = (uint16_t)get(e, EQUILIF_DATA);
            if (pass && word != data[i])
                return EQUILIF_ERROR_BUS;
            data[i] = word;
        }
    }
    return EQUILIF_OK;
}

static int read_counter(const struct equilif_engine *e, uint32_t *counter)
{
    seek(e, EQUILIF_REGION_COUNTER, 0);
    *counter = get(e, EQUILIF_DATA);
    return *counter <= EQUILIF_COUNTER_MASK ? EQUILIF_OK : EQUILIF_ERROR_BUS;
}

static int write_state(const struct equilif_engine *e, const int16_t *weights, uint32_t counter)
{
    int result = fill(e, EQUILIF_REGION_WEIGHTS, 0, e->network->num_weights, of_weights, weights);

    return result == EQUILIF_OK ? fill(e, EQUILIF_REGION_COUNTER, 0, 1, of_words, &counter) : result;
}

static int check_engine(const struct equilif_engine *e)
{
    const struct equilif_network *n = e->network;
    uint32_t status;

    if (get(e, EQUILIF_ID) != EQUILIF_EXPECTED_ID)
        return EQUILIF_ERROR_NO_ENGINE;
    if (get(e, EQUILIF_VERSION) != n->version || get(e, EQUILIF_NUMERICS) != n->numerics)
        return EQUILIF_ERROR_VERSION;
    if (get(e, EQUILIF_TILES) < n->tiles || (get(e, EQUILIF_GROUPS) & 0xFFFFu) < n->value_groups ||
        get(e, EQUILIF_GROUPS) >> 16 < n->state_groups || get(e, EQUILIF_PROGRAM_WORDS) < n->num_program)
        return EQUILIF_ERROR_TOO_SMALL;
    if (read_status(e, &status) != EQUILIF_OK)
        return EQUILIF_ERROR_BUS;
    return status & EQUILIF_STATUS_BUSY_MASK ? EQUILIF_ERROR_BUSY : EQUILIF_OK;
}

/* LOAD copies the staged words, so the first one is free for the owner: every load writes another word. */
static int load_program(struct equilif_engine *e)
{
    const struct equilif_network *n = e->network;
    uint32_t status, step = (uint32_t)(uintptr_t)e | 1u;
    int result;

    seek(e, EQUILIF_REGION_PROGRAM, 0);
    e->owner = get(e, EQUILIF_DATA);
    do
        e->owner += step;
    while (e->owner < 0x100u || e->owner == n->program[0]);
    result = fill(e, EQUILIF_REGION_PROGRAM, 0, n->num_program, of_words, n->program);
    if (result != EQUILIF_OK)
        return result;
    /* Whether the engine took a LOAD cannot be read if it had a program before; a single fault spoils one. */
    put(e, EQUILIF_LOAD, n->num_program / 3u);
    put(e, EQUILIF_LOAD, n->num_program / 3u);
    if (read_status(e, &status) != EQUILIF_OK || !(status & EQUILIF_STATUS_LOADED_MASK))
        return EQUILIF_ERROR_PROGRAM;
    return fill(e, EQUILIF_REGION_PROGRAM, 0, 1, of_words, &e->owner);
}

/* Inputs, then a run.  A lost or changed START shows in STATUS and in the counter, which learning moves. */
static int run(struct equilif_engine *e, const uint8_t *inputs, uint32_t learn, uint32_t *prediction)
{
    const struct equilif_network *n = e->network;
    const struct equilif_block *b;
    uint32_t row, before, after, status, found, polls = 0;
    int result;

    for (b = n->inputs; b < n->inputs + n->num_input_blocks; b++)
        for (row = 0; row < b->rows; row++, inputs += b->width)
            if (fill(e, EQUILIF_REGION_VALUES, b->first + row * b->stride, b->width, of_values, inputs))
                return EQUILIF_ERROR_BUS;
    put(e, EQUILIF_STATUS, EQUILIF_STATUS_DONE_MASK);
    if (read_counter(e, &before) != EQUILIF_OK)
        return EQUILIF_ERROR_BUS;
    put(e, EQUILIF_CONTROL, EQUILIF_CONTROL_START_MASK | learn);
    do {
        if (polls++ == EQUILIF_MAX_POLLS)
            return EQUILIF_ERROR_TIMEOUT;
        result = read_status(e, &status);
        if (result != EQUILIF_OK)
            return result;
        if (!(status & EQUILIF_STATUS_LOADED_MASK))
            return EQUILIF_ERROR_NO_PROGRAM;
    } while (!(status & EQUILIF_STATUS_DONE_MASK));
    found = get(e, EQUILIF_PREDICTION);
    if (get(e, EQUILIF_PREDICTION) != found || found >= n->num_outputs || read_counter(e, &after))
        return EQUILIF_ERROR_BUS;
    before += learn ? n->num_updates * EQUILIF_COUNTER_STEP : 0;
    if (after != (before & EQUILIF_COUNTER_MASK))
        return EQUILIF_ERROR_BUS;
    *prediction = found;
    return EQUILIF_OK;
}

static uint32_t crc32(uint32_t crc, const void *data, size_t num_bytes)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu,
        0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *bytes = data;

    crc = ~crc;
    while (num_bytes--) {
        crc ^= *bytes++;
        crc = crc >> 4 ^ table[crc & 15u];
        crc = crc >> 4 ^ table[crc & 15u];
    }
    return ~crc;
}

static uint32_t state_crc(const struct equilif_state *state, const int16_t *weights)
{
    return crc32(crc32(0, state, offsetof(struct equilif_state, crc)), weights,
                 (size_t)state->num_weights * sizeof *weights);
}

static uint32_t lanes_of(const struct equilif_network *n)
{
    return (n->version & EQUILIF_VERSION_LANES_MASK) >> EQUILIF_VERSION_LANES_SHIFT;
}

static int is_within(uint32_t first, uint32_t num, uint32_t limit)
{
    return num <= limit && first <= limit - num;
}

/* Whether the blocks have `num` values together, below element `limit`. */
static int are_within(const struct equilif_block *b, uint32_t num_blocks, uint32_t num, uint32_t limit)
{
    for (; num_blocks--; b++) {
        if (!b->rows || !b->width || b->width > num / b->rows || !is_within(b->first, b->width, limit) ||
            (b->rows > 1 && b->stride > (limit - b->first - b->width) / (b->rows - 1)))
            return 0;
        num -= b->rows * b->width;
    }
    return !num;
}

static int take(uint32_t *left, uint32_t num, uint32_t size)
{
    if (num > *left / size)
        return 0;
    *left -= num * size;
    return 1;
}

/* Whether the parts of an image fill the `left` words after its fields. */
static int are_complete(const struct equilif_network *n, uint32_t left)
{
    return take(&left, n->num_program, 1) && take(&left, 1, 4) && take(&left, n->num_input_blocks, 4) &&
           take(&left, n->num_rate_blocks, 4) && take(&left, n->num_weights / 2 + n->num_weights % 2, 1) &&
           take(&left, n->num_constants / 4 + !!(n->num_constants % 4), 1) && !left;
}

/* Whether all elements lie in the memories that the network needs, and blocks in the arrays of a sample. */
static int is_consistent(const struct equilif_network *n)
{
    const uint32_t lanes = lanes_of(n), values = n->value_groups * lanes, tile = lanes * lanes;
    uint32_t weights, columns;

    if (!lanes || lanes > MAX_LANES || lanes & (lanes - 1) || n->value_groups > 0xFFFFu ||
        n->tiles > 0xFFFFFu || !n->num_program || n->num_program % 3 || n->counter > EQUILIF_COUNTER_MASK)
        return 0;
    weights = n->tiles * tile;
    columns = (n->token_width + lanes - 1) / lanes;
    return n->num_weights <= weights && is_within(n->first_sample, n->num_sample, values) &&
           is_within(n->first_constant, n->num_constants, values) &&
           is_within(n->first_present, n->num_tokens, values) && n->token_width <= values &&
           n->first_token <= weights &&
           (!columns || (n->num_tokens + lanes - 1) / lanes <= (weights - n->first_token) / tile / columns) &&
           n->target->rows == 1 && are_within(n->target, 1, n->num_outputs, values) &&
           are_within(n->inputs, n->num_input_blocks, n->num_inputs, values) &&
           are_within(n->rates, n->num_rate_blocks, n->num_rates, values);
}

int equilif_open(struct equilif_network *network, const void *image, size_t num_bytes)
{
    const uint32_t *word = image;
    uint32_t *field = &network->version;
    size_t i;

    if ((uintptr_t)image % 4u || num_bytes < 4u * (PREAMBLE + NUM_FIELDS) || word[0] != EQUILIF_IMAGE_MAGIC ||
        word[1] != EQUILIF_LAYOUT || word[2] < 4u * (PREAMBLE + NUM_FIELDS) || word[2] > num_bytes ||
        word[2] % 4u || word[3] != crc32(0, word + PREAMBLE, word[2] - 4u * PREAMBLE))
        return EQUILIF_ERROR_IMAGE;
    for (i = 0; i < NUM_FIELDS; i++)
        field[i] = word[PREAMBLE + i];
    if (!are_complete(network, (uint32_t)(word[2] / 4u - PREAMBLE - NUM_FIELDS)))
        return EQUILIF_ERROR_IMAGE;
    network->program = word + PREAMBLE + NUM_FIELDS;
    network->target = (const struct equilif_block *)(network->program + network->num_program);
    network->inputs = network->target + 1;
    network->rates = network->inputs + network->num_input_blocks;
    network->weights = (const int16_t *)(network->rates + network->num_rate_blocks);
    network->constants = (const uint8_t *)(network->weights + (network->num_weights + 1u) / 2u * 2u);
    return is_consistent(network) ? EQUILIF_OK : EQUILIF_ERROR_IMAGE;
}

int equilif_load(struct equilif_engine *e, uintptr_t base, const struct equilif_network *network)
{
    const struct equilif_network *n = network;
    int result;

    e->base = base;
    e->network = network;
    result = check_engine(e);
    if (result == EQUILIF_OK)
        result = load_program(e);
    if (result == EQUILIF_OK) /* padding stays zero */
        result = fill(e, EQUILIF_REGION_VALUES, n->first_sample, n->num_sample, of_zeros, NULL);
    if (result == EQUILIF_OK)
        result = fill(e, EQUILIF_REGION_VALUES, n->first_constant, n->num_constants, of_values, n->constants);
    if (result == EQUILIF_OK)
        result = write_state(e, n->weights, n->counter);
    return finish(e, result);
}

/* Patterns lie in tiles of lanes x lanes weights; element (row, column) of a tile in bank row ^ column. */
static int write_patterns(const struct equilif_engine *e, const int16_t *patterns, uint32_t num_tokens)
{
    const uint32_t lanes = lanes_of(e->network), width = e->network->token_width;
    uint32_t row, tile, first, bank, column, at;
    int pass;

    for (pass = 0; pass < 2; pass++) {
        at = e->network->first_token;
        seek(e, EQUILIF_REGION_WEIGHTS, at);
        for (tile = 0; tile < num_tokens; tile += lanes)
            for (first = 0; first < width; first += lanes)
                for (row = 0; row < lanes; row++)
                    for (bank = 0; bank < lanes; bank++, at++) {
                        column = first + (row ^ bank);
                        if (!element(e, pass, tile + row < num_tokens && column < width
                                                  ? of_weights(patterns, (tile + row) * width + column)
                                                  : 0u))
                            return EQUILIF_ERROR_BUS;
                    }
        if (!pass && !is_at(e, EQUILIF_REGION_WEIGHTS, at))
            return EQUILIF_ERROR_BUS;
    }
    return EQUILIF_OK;
}

int equilif_tokens(struct equilif_engine *e, const int16_t *patterns, uint32_t num_tokens)
{
    const struct equilif_network *n = e->network;
    int result = ready(e);

    if (result != EQUILIF_OK)
        return result;
    if (num_tokens > n->num_tokens)
        return EQUILIF_ERROR_TOKENS;
    result = write_patterns(e, patterns, num_tokens);
    if (result == EQUILIF_OK)
        result = fill(e, EQUILIF_REGION_VALUES, n->first_present, n->num_tokens, of_tokens, &num_tokens);
    return finish(e, result);
}

int equilif_learn(struct equilif_engine *e, const uint8_t *inputs, uint32_t label, uint32_t *prediction)
{
    const struct equilif_block *target;
    int result = ready(e);

    if (result != EQUILIF_OK)
        return result;
    if (!e->network->num_updates)
        return EQUILIF_ERROR_INFERENCE;
    if (label >= e->network->num_outputs)
        return EQUILIF_ERROR_LABEL;
    target = e->network->target;
    result = fill(e, EQUILIF_REGION_VALUES, target->first, target->width, of_label, &label);
    if (result == EQUILIF_OK)
        result = run(e, inputs, EQUILIF_CONTROL_LEARN_MASK, prediction);
    return finish(e, result);
}

int equilif_predict(struct equilif_engine *e, const uint8_t *inputs, uint32_t *prediction)
{
    int result = ready(e);

    return result == EQUILIF_OK ? finish(e, run(e, inputs, 0, prediction)) : result;
}

int equilif_rates(struct equilif_engine *e, uint16_t *rates)
{
    const struct equilif_block *b;
    uint32_t row;
    int result = ready(e);

    if (result != EQUILIF_OK)
        return result;
    for (b = e->network->rates; b < e->network->rates + e->network->num_rate_blocks; b++)
        for (row = 0; row < b->rows; row++, rates += b->width)
            if (fetch(e, EQUILIF_REGION_VALUES, b->first + row * b->stride, b->width, rates) != EQUILIF_OK)
                return fail(e, EQUILIF_ERROR_BUS);
    return finish(e, EQUILIF_OK);
}

int equilif_save(struct equilif_engine *e, struct equilif_state *state, int16_t *weights)
{
    const struct equilif_network *n = e->network;
    uint32_t again;
    size_t i;
    int result = ready(e);

    if (result != EQUILIF_OK)
        return result;
    if (fetch(e, EQUILIF_REGION_WEIGHTS, 0, n->num_weights, (uint16_t *)weights) ||
        read_counter(e, &state->counter) || read_counter(e, &again) || again != state->counter)
        return fail(e, EQUILIF_ERROR_BUS);
    state->magic = EQUILIF_STATE_MAGIC;
    state->layout = EQUILIF_LAYOUT;
    state->version = n->version;
    for (i = 0; i < 4; i++)
        state->identity[i] = n->identity[i];
    state->num_weights = n->num_weights;
    state->crc = state_crc(state, weights);
    return finish(e, EQUILIF_OK);
}

int equilif_restore(struct equilif_engine *e, const struct equilif_state *state, const int16_t *weights)
{
    const struct equilif_network *n = e->network;
    size_t i;
    int result = ready(e);

    if (result != EQUILIF_OK)
        return result;
    if (state->magic != EQUILIF_STATE_MAGIC || state->layout != EQUILIF_LAYOUT ||
        state->version != n->version || state->num_weights != n->num_weights ||
        state->counter > EQUILIF_COUNTER_MASK || state->crc != state_crc(state, weights))
        return EQUILIF_ERROR_STATE;
    for (i = 0; i < 4; i++)
        if (state->identity[i] != n->identity[i])
            return EQUILIF_ERROR_STATE;
    result = write_state(e, weights, state->counter);
    return finish(e, result);
}
