#include "equilif.h"

#define NUM_FIELDS (offsetof(struct equilif_network, program) / sizeof(uint32_t))
#define PREAMBLE 4u /* words before the fields in an image: magic, layout, bytes, CRC-32 */

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

/* DATA, LOAD and CONTROL are bus errors during a run. */
static int ready(const struct equilif_engine *e)
{
    uint32_t status;

    if (!e->network)
        return EQUILIF_ERROR_NO_PROGRAM;
    status = get(e, EQUILIF_STATUS);
    if (status & EQUILIF_STATUS_BUSY_MASK)
        return EQUILIF_ERROR_BUSY;
    return status & EQUILIF_STATUS_LOADED_MASK ? EQUILIF_OK : EQUILIF_ERROR_NO_PROGRAM;
}

static int check_engine(const struct equilif_engine *e)
{
    const struct equilif_network *n = e->network;

    if (get(e, EQUILIF_ID) != EQUILIF_EXPECTED_ID)
        return EQUILIF_ERROR_NO_ENGINE;
    if (get(e, EQUILIF_VERSION) != n->version || get(e, EQUILIF_NUMERICS) != n->numerics)
        return EQUILIF_ERROR_VERSION;
    if (get(e, EQUILIF_TILES) < n->tiles || (get(e, EQUILIF_GROUPS) & 0xFFFFu) < n->value_groups ||
        get(e, EQUILIF_GROUPS) >> 16 < n->state_groups || get(e, EQUILIF_PROGRAM_WORDS) < n->num_program)
        return EQUILIF_ERROR_TOO_SMALL;
    return get(e, EQUILIF_STATUS) & EQUILIF_STATUS_BUSY_MASK ? EQUILIF_ERROR_BUSY : EQUILIF_OK;
}

/* A rejected program would leave the previous one loaded, so the staged words are read back first. */
static int load_program(const struct equilif_engine *e)
{
    const struct equilif_network *n = e->network;
    uint32_t i;

    seek(e, EQUILIF_REGION_PROGRAM, 0);
    for (i = 0; i < n->num_program; i++)
        put(e, EQUILIF_DATA, n->program[i]);
    put(e, EQUILIF_ADDRESS, 0);
    for (i = 0; i < n->num_program; i++)
        if (get(e, EQUILIF_DATA) != n->program[i])
            return EQUILIF_ERROR_PROGRAM;
    put(e, EQUILIF_LOAD, n->num_program / 3u);
    return ready(e) == EQUILIF_OK ? EQUILIF_OK : EQUILIF_ERROR_PROGRAM;
}

/* A value has two bytes, for the phases at +beta and at -beta; both are the same for inputs and targets. */
static void put_values(const struct equilif_engine *e, const struct equilif_block *b, const uint8_t *values)
{
    uint32_t row, i;

    for (row = 0; row < b->rows; row++) {
        seek(e, EQUILIF_REGION_VALUES, b->first + row * b->stride);
        for (i = 0; i < b->width; i++)
            put(e, EQUILIF_DATA, *values++ * 0x101u);
    }
}

static int run(const struct equilif_engine *e, const uint8_t *inputs, uint32_t learn, uint32_t *prediction)
{
    uint32_t i, polls;

    for (i = 0; i < e->network->num_input_blocks; i++) {
        put_values(e, &e->network->inputs[i], inputs);
        inputs += e->network->inputs[i].rows * e->network->inputs[i].width;
    }
    put(e, EQUILIF_CONTROL, EQUILIF_CONTROL_START_MASK | learn);
    for (polls = 0; polls < EQUILIF_MAX_POLLS; polls++)
        if (get(e, EQUILIF_STATUS) & EQUILIF_STATUS_DONE_MASK) {
            *prediction = get(e, EQUILIF_PREDICTION);
            return EQUILIF_OK;
        }
    return EQUILIF_ERROR_TIMEOUT;
}

static uint32_t crc32(const uint8_t *bytes, size_t num_bytes)
{
    uint32_t crc = 0xFFFFFFFFu;
    int bit;

    while (num_bytes--) {
        crc ^= *bytes++;
        for (bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1u ? 0xEDB88320u : 0u);
    }
    return ~crc;
}

int equilif_open(struct equilif_network *network, const void *image, size_t num_bytes)
{
    const uint32_t *word = image;
    uint32_t *field = &network->version;
    size_t i;

    if ((uintptr_t)image % 4u || num_bytes < 4u * (PREAMBLE + NUM_FIELDS) || word[0] != EQUILIF_IMAGE_MAGIC ||
        word[1] != EQUILIF_IMAGE_LAYOUT || word[2] < 4u * (PREAMBLE + NUM_FIELDS) || word[2] > num_bytes ||
        word[3] != crc32((const uint8_t *)(word + PREAMBLE), word[2] - 4u * PREAMBLE))
        return EQUILIF_ERROR_IMAGE;
    word += PREAMBLE;
    for (i = 0; i < NUM_FIELDS; i++)
        field[i] = *word++;
    network->program = word;
    network->target = (const struct equilif_block *)(word + network->num_program);
    network->inputs = network->target + 1;
    network->rates = network->inputs + network->num_input_blocks;
    network->weights = (const int16_t *)(network->rates + network->num_rate_blocks);
    network->constants = (const uint8_t *)(network->weights + (network->num_weights + 1u) / 2u * 2u);
    return EQUILIF_OK;
}

int equilif_load(struct equilif_engine *e, uintptr_t base, const struct equilif_network *network)
{
    uint32_t i;
    int result;

    e->base = base;
    e->network = network;
    if ((result = check_engine(e)) != EQUILIF_OK || (result = load_program(e)) != EQUILIF_OK) {
        e->network = NULL;
        return result;
    }
    seek(e, EQUILIF_REGION_VALUES, network->first_sample); /* padding stays zero */
    for (i = 0; i < network->num_sample; i++)
        put(e, EQUILIF_DATA, 0);
    put(e, EQUILIF_ADDRESS, network->first_constant);
    for (i = 0; i < network->num_constants; i++)
        put(e, EQUILIF_DATA, network->constants[i] * 0x101u);
    return equilif_restore(e, network->weights, network->counter);
}

/* Patterns lie in tiles of lanes x lanes weights; element (row, column) of a tile in bank row ^ column. */
int equilif_tokens(const struct equilif_engine *e, const int16_t *patterns, uint32_t num_tokens)
{
    uint32_t lanes, width, row, tile, first, bank, column, i;
    int result = ready(e);

    if (result != EQUILIF_OK)
        return result;
    if (num_tokens > e->network->num_tokens)
        return EQUILIF_ERROR_TOKENS;
    lanes = (e->network->version & EQUILIF_VERSION_LANES_MASK) >> EQUILIF_VERSION_LANES_SHIFT;
    width = e->network->token_width;
    seek(e, EQUILIF_REGION_WEIGHTS, e->network->first_token);
    for (tile = 0; tile < num_tokens; tile += lanes)
        for (first = 0; first < width; first += lanes)
            for (row = 0; row < lanes; row++)
                for (bank = 0; bank < lanes; bank++) {
                    column = first + (row ^ bank);
                    put(e, EQUILIF_DATA, tile + row < num_tokens && column < width
                                             ? (uint16_t)patterns[(tile + row) * width + column]
                                             : 0u);
                }
    seek(e, EQUILIF_REGION_VALUES, e->network->first_present);
    for (i = 0; i < e->network->num_tokens; i++)
        put(e, EQUILIF_DATA, i < num_tokens ? 0xFFFFu : 0u);
    return EQUILIF_OK;
}

int equilif_learn(const struct equilif_engine *e, const uint8_t *inputs, uint32_t label, uint32_t *prediction)
{
    const struct equilif_block *target;
    uint32_t i;
    int result = ready(e);

    if (result != EQUILIF_OK)
        return result;
    if (!e->network->num_updates)
        return EQUILIF_ERROR_INFERENCE;
    if (label >= e->network->num_outputs)
        return EQUILIF_ERROR_LABEL;
    target = e->network->target;
    seek(e, EQUILIF_REGION_VALUES, target->first);
    for (i = 0; i < target->width; i++)
        put(e, EQUILIF_DATA, i == label ? 0xFFFFu : 0u);
    return run(e, inputs, EQUILIF_CONTROL_LEARN_MASK, prediction);
}

int equilif_predict(const struct equilif_engine *e, const uint8_t *inputs, uint32_t *prediction)
{
    int result = ready(e);

    return result == EQUILIF_OK ? run(e, inputs, 0, prediction) : result;
}

int equilif_rates(const struct equilif_engine *e, uint16_t *rates)
{
    const struct equilif_block *b;
    uint32_t row, i;
    int result = ready(e);

    if (result != EQUILIF_OK)
        return result;
    for (b = e->network->rates; b < e->network->rates + e->network->num_rate_blocks; b++)
        for (row = 0; row < b->rows; row++) {
            seek(e, EQUILIF_REGION_VALUES, b->first + row * b->stride);
            for (i = 0; i < b->width; i++)
                *rates++ = (uint16_t)get(e, EQUILIF_DATA);
        }
    return EQUILIF_OK;
}

int equilif_save(const struct equilif_engine *e, int16_t *weights, uint32_t *counter)
{
    uint32_t i, word;
    int result = ready(e);

    if (result != EQUILIF_OK)
        return result;
    seek(e, EQUILIF_REGION_WEIGHTS, 0);
    for (i = 0; i < e->network->num_weights; i++) {
        word = get(e, EQUILIF_DATA) & 0xFFFFu;
        weights[i] = (int16_t)((int32_t)(word ^ 0x8000u) - 0x8000);
    }
    seek(e, EQUILIF_REGION_COUNTER, 0);
    *counter = get(e, EQUILIF_DATA);
    return EQUILIF_OK;
}

int equilif_restore(const struct equilif_engine *e, const int16_t *weights, uint32_t counter)
{
    uint32_t i;
    int result = ready(e);

    if (result != EQUILIF_OK)
        return result;
    seek(e, EQUILIF_REGION_WEIGHTS, 0);
    for (i = 0; i < e->network->num_weights; i++)
        put(e, EQUILIF_DATA, (uint16_t)weights[i]);
    seek(e, EQUILIF_REGION_COUNTER, 0);
    put(e, EQUILIF_DATA, counter);
    return EQUILIF_OK;
}
