/* Learns and predicts samples with the C driver, without an operating system or a C library.
 *
 * examples/litex_soc.py writes samples.h, compiles this with the driver for the processor of its SoC, and reads
 * `report` from the simulated RAM. */
#include "mem.h" /* written by LiteX */
#include "network.h"
#include "samples.h"

#define NUM_SAMPLES (sizeof labels / sizeof *labels)

struct sample {
    uint32_t prediction, counter;
    uint16_t rates[EQUILIF_NETWORK_NUM_RATES];
    int16_t weights[EQUILIF_NETWORK_NUM_WEIGHTS];
};

/* `progress` counts the steps that have ended; the simulator notes the cycle of each. */
__attribute__((section(".bss.report"))) struct {
    volatile uint32_t progress, error;
    struct sample each[NUM_SAMPLES];
} report;

static int learn_and_predict(void)
{
    struct equilif_engine engine;
    struct equilif_state state;
    unsigned k;
    int result = equilif_load(&engine, ENGINE_BASE, &equilif_network);

    report.progress++;
    for (k = 0; k < NUM_SAMPLES && result == EQUILIF_OK; k++) {
        struct sample *s = &report.each[k];

        result = k < NUM_LEARNED ? equilif_learn(&engine, inputs[k], labels[k], &s->prediction)
                                 : equilif_predict(&engine, inputs[k], &s->prediction);
        report.progress++;
        if (result == EQUILIF_OK && (result = equilif_rates(&engine, s->rates)) == EQUILIF_OK)
            result = equilif_save(&engine, &state, s->weights);
        s->counter = state.counter;
        report.progress++;
    }
    return result;
}

/* At the reset address: stack pointer, then C.  RAM is zero at the start, and no variable has another value. */
__attribute__((naked, section(".start"))) void start(void)
{
    __asm__("la sp, stack_top\n    j run");
}

__attribute__((used)) void run(void)
{
    report.error = (uint32_t)learn_and_predict();
    report.progress = FINISHED;
    for (;;)
        ;
}
