// A sarama program of the kind users have: it creates a topic, produces keyed records with every codec, reads them
// back by partition and in a consumer group, and checks each one. Usage: sarama-quickstart BOOTSTRAP TOPIC default|max COUNT
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

type seen struct {
	partition int32
	offset    int64
}

func config(version string) *sarama.Config {
	c := sarama.NewConfig()
	if version == "max" {
		c.Version = sarama.MaxVersion
	}
	c.ClientID = "sarama-" + version
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Return.Errors = true
	return c
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func check(what string, err error) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

// The idempotent producer too, where the protocol version has it.
func produce(bootstrap, topic, version string, codec sarama.CompressionCodec, first, count int) map[string]seen {
	c := config(version)
	c.Producer.Compression = codec
	if c.Version.IsAtLeast(sarama.V0_11_0_0) && codec == sarama.CompressionNone {
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
	}
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, c)
	check("producer", err)
	acked := map[string]seen{}
	batch := []*sarama.ProducerMessage{}
	for i := first; i < first+count; i++ {
		batch = append(batch, &sarama.ProducerMessage{
			Topic:   topic,
			Key:     sarama.StringEncoder(fmt.Sprintf("key-%d", i)),
			Value:   sarama.StringEncoder(fmt.Sprintf("value-%d", i)),
			Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("1")}, {Key: []byte("h"), Value: []byte("2")}},
		})
	}
	check("produce "+codec.String(), producer.SendMessages(batch))
	for i, message := range batch {
		acked[fmt.Sprintf("value-%d", first+i)] = seen{message.Partition, message.Offset}
	}
	check("close producer", producer.Close())
	return acked
}

func consume(bootstrap, topic, version string, partitions int32, acked map[string]seen) {
	consumer, err := sarama.NewConsumer([]string{bootstrap}, config(version))
	check("consumer", err)
	left := len(acked)
	for partition := int32(0); partition < partitions; partition++ {
		stream, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		check("consume", err)
		want := 0
		for _, at := range acked {
			if at.partition == partition {
				want++
			}
		}
		for i := 0; i < want; i++ {
			select {
			case message := <-stream.Messages():
				at, known := acked[string(message.Value)]
				if !known || at.partition != partition || at.offset != message.Offset {
					fail("read %q at %d/%d, acknowledged at %v (%v)", message.Value, partition, message.Offset, at, known)
				}
				if len(message.Headers) != 2 || string(message.Headers[1].Value) != "2" {
					fail("headers of %q were changed: %v", message.Value, message.Headers)
				}
				left--
			case err := <-stream.Errors():
				fail("consume: %v", err)
			case <-time.After(30 * time.Second):
				fail("partition %d: %d of %d records came", partition, i, want)
			}
		}
		check("close", stream.Close())
	}
	if left != 0 {
		fail("%d records are missing", left)
	}
	check("close consumer", consumer.Close())
}

type member struct{}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			session.MarkMessage(message, "")
			counted <- 1
		case <-session.Context().Done():
			return nil
		}
	}
}

var counted = make(chan int, 1024)

func group(bootstrap, topic, version string, count int) {
	c := config(version)
	c.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	name := "sarama-group-" + version
	g, err := sarama.NewConsumerGroup([]string{bootstrap}, name, c)
	check("group", err)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, &member{}); err != nil && !errors.Is(err, context.Canceled) {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for got := 0; got < count; {
		select {
		case n := <-counted:
			got += n
		case err := <-done:
			fail("group ended after %d of %d: %v", got, count, err)
		case err := <-g.Errors():
			fail("group: %v", err)
		}
	}
	time.Sleep(500 * time.Millisecond)
	cancel()
	<-done
	check("close group", g.Close())
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, config(version))
	check("admin", err)
	offsets, err := admin.ListConsumerGroupOffsets(name, nil)
	check("group offsets", err)
	total := int64(0)
	for _, partitions := range offsets.Blocks {
		for _, block := range partitions {
			if block.Offset > 0 {
				total += block.Offset
			}
		}
	}
	if total != int64(count) {
		fail("the group committed %d of %d records", total, count)
	}
	check("close admin", admin.Close())
}

func main() {
	if len(os.Args) != 5 {
		fail("usage: sarama-quickstart BOOTSTRAP TOPIC default|max COUNT")
	}
	bootstrap, topic, version := os.Args[1], os.Args[2], os.Args[3]
	count, err := strconv.Atoi(os.Args[4])
	check("count", err)
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, config(version))
	check("admin", err)
	const partitions = 3
	check("create topic", admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false))
	check("close admin", admin.Close())
	codecs := []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD}
	acked := map[string]seen{}
	for i, codec := range codecs {
		for value, at := range produce(bootstrap, topic, version, codec, i*count, count) {
			acked[value] = at
		}
	}
	if len(acked) != count*len(codecs) {
		fail("acknowledged %d of %d", len(acked), count*len(codecs))
	}
	consume(bootstrap, topic, version, partitions, acked)
	group(bootstrap, topic, version, len(acked))
	fmt.Printf("OK %d records, protocol %s\n", len(acked), config(version).Version)
}
