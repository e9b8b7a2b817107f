"""One module a suite: NAME, CLIENT, ABOUT, SHORT (part of CI's bounded run) and run(context)."""

from suites import (
    aiokafka,
    confluent_kafka,
    franz_go,
    kafka_streams,
    kafka_tools,
    kafkajs,
    kcat,
    librdkafka,
    rdkafka,
    sarama,
)

SUITES = [
    kafka_tools,
    kafka_streams,
    kafkajs,
    aiokafka,
    confluent_kafka,
    kcat,
    sarama,
    franz_go,
    librdkafka,
    rdkafka,
]
